/* SPDX-License-Identifier: GPL-3.0-or-later */
/* vcs: its table, its start and its stop. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vcs_world.h"

static const struct mb_option options[] = {
    {.name = "pushes",
     .kind = MB_OPTION_INT,
     .fallback = "8",
     .min = 1,
     .max = 1000,
     .reload = true,
     .help = "Pushes that are received and checked at once."},
    {.name = "fetches",
     .kind = MB_OPTION_INT,
     .fallback = "16",
     .min = 1,
     .max = 1000,
     .reload = true,
     .help = "Fetches that are served at once; each is a git of its own."},
    {.name = "keep_free",
     .kind = MB_OPTION_SIZE,
     .fallback = "256M",
     .min = 0,
     .max = VCS_BYTES_MAX,
     .reload = true,
     .help = "No pack is taken while the disk has less room than this."},
    {.name = "keep_packs",
     .kind = MB_OPTION_DURATION,
     .fallback = "1d",
     .min = 900,
     .max = 2592000,
     .reload = true,
     .help = "A checked pack that no command has named is removed after this time."},
    {.name = NULL},
};

static const struct mb_route routes[] = {
    {.method = "GET", .pattern = "/{repo}.git/info/refs", .begin = vcs_info_refs},
    {.method = "POST", .pattern = "/{repo}.git/git-upload-pack", .begin = vcs_upload_pack},
    {.method = "POST", .pattern = "/{repo}.git/git-receive-pack", .begin = vcs_receive_pack},
    {.method = NULL},
};

static void stop(void *self)
{
    struct vcs *v = self;
    v->draining = true;
    vcs_behind_stop(v);
    while (v->pushing > 0 ||
           v->sharing > 0) { /* their children die, and the chains end; workers are waited for */
        vcs_receive_kill(v);
        mb_loop_once(v->loop, 50);
    }
    mb_child_free(v->maintenance);
    mb_timer_free(v->settle);
    vcs_repos_close(v);
    free(v->dir);
    free(v->incoming);
    free(v);
    git_libgit2_shutdown();
}

static int start(struct mb_host *host, void **self, struct mb_error *error)
{
    struct vcs *v = mb_calloc(1, sizeof *v);
    git_libgit2_init();
    git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)(4 << 20));
    git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, (size_t)(32 << 20));
    v->host = host;
    v->loop = mb_host_loop(host);
    v->settle = mb_timer_new(v->loop, vcs_repos_settle_due, v);
    v->dir = mb_strdup(mb_host_dir(host));
    v->incoming = mb_asprintf("%s/incoming", v->dir);
    int rc = mkdir(v->incoming, 0700) != 0 && errno != EEXIST
                 ? mb_fail(error, MB_EIO, "vcs.repos", "%s: %s", v->incoming, strerror(errno))
                 : vcs_follow_all(v, error);
    if (rc != 0)
        stop(v);
    else
        *self = v;
    return rc;
}

static void on_block(void *self, const struct mb_applied *applied)
{
    vcs_follow_block(self, applied);
}

static void health(void *self, struct mb_report *r)
{
    const struct vcs *v = self;
    mb_report_counter(r, "pushes_total", "Pushes that were recorded.", v->pushes);
    mb_report_counter(r, "refused_total", "Pushes that were refused.", v->refused);
    mb_report_counter(r, "fetches_total", "Fetches begun.", v->fetches);
    mb_report_counter(r, "received_bytes_total", "Bytes of packs received.", v->bytes_in);
    mb_report_gauge(r, "pushing", "Pushes under way.", v->pushing);
    mb_report_gauge(r, "fetching", "Fetches under way.", v->fetching);
    mb_report_counter(r, "false_receipts_total", "Receipts of other replicas that did not hold.",
                      v->false_receipts);
    mb_report_counter(r, "false_packs_total", "Packs of other replicas that could not be used.",
                      v->false_packs);
    if (v->false_receipts > 0)
        mb_report_alarm(r, "vcs.false_receipt",
                        "%llu receipts of other replicas did not hold, the last by replica %lld: "
                        "are its clock and its version right? Else remove it",
                        (unsigned long long)v->false_receipts, (long long)v->false_receipt_by);
    if (v->false_packs > 0)
        mb_report_alarm(r, "vcs.false_pack",
                        "%llu packs of other replicas could not be used, the last by replica %lld: "
                        "if there is room on this disk, remove that replica",
                        (unsigned long long)v->false_packs, (long long)v->false_pack_by);
    if (v->behind != NULL)
        mb_report_alarm(r, "vcs.behind",
                        "objects of a repository are still to come from the other replicas");
    if (v->git_missing)
        mb_report_alarm(r, "vcs.git", "git cannot be run: is it installed as " MB_GIT_PATH "?");
}

void vcs_drain_check(struct vcs *v)
{
    if (v->drained == NULL || v->pushing > 0 || v->fetching > 0)
        return;
    void (*drained)(void *arg) = v->drained;
    v->drained = NULL;
    drained(v->drained_arg);
}

static void drain(void *self, void (*done)(void *arg), void *arg)
{
    struct vcs *v = self;
    v->draining = true;
    v->drained = done;
    v->drained_arg = arg;
    vcs_drain_check(v);
}

extern const struct mb_module mb_module_vcs;
const struct mb_module mb_module_vcs = {
    .abi = MB_MODULE_ABI,
    .summary = "Anonymous version control.",
    .logic = &vcs_logic,
    .options = options,
    .routes = routes,
    .start = start,
    .on_block = on_block,
    .on_ask = vcs_on_ask,
    .health = health,
    .drain = drain,
    .stop = stop,
};
