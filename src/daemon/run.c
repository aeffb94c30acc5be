/* SPDX-License-Identifier: GPL-3.0-or-later */
/* magicbizd run: start the parts in order, serve, stop them in the opposite order. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "daemon/consensus.h"
#include "daemon/follow.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define DRAIN_MS 3000 /* of the 5 s that a stop may take */

static const char usage[] =
    "usage: magicbizd run --config FILE [--check]\n"
    "\n"
    "Run in the foreground until SIGTERM. SIGHUP reads the configuration again.\n"
    "\n"
    "  --config FILE  the configuration; magicbizd init writes DATA/magicbiz.conf\n"
    "  --check        only check the configuration and the modules, and exit\n";

char *node_path(const struct node *n, const char *name)
{
    return mb_asprintf("%s/%s", n->data, name);
}

static void notify(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

static void begin_stop(struct node *n);

void node_fail(struct node *n, const struct mb_error *error)
{
    mb_log(MB_LOG_ERROR, "daemon", "stopping", "code=%s text=%s", error->code, error->text);
    n->exit_status = 1;
    mb_http_server_mute(n->public_http); /* the state in memory may be half of something */
    mb_http_server_mute(n->operator_http);
    begin_stop(n);
}

/* --- The parts, in the order they start. --- */

static int lock_data(struct node *n, struct mb_error *error)
{
    char *path = node_path(n, "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rc = 0;
    if (fd < 0)
        rc = mb_fail(error, MB_EIO, "data.unusable", "%s: %s: is `data` right, and ours?", path,
                     strerror(errno));
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        rc = mb_fail(error, MB_EREFUSED, "data.locked",
                     "%s is in use: another magicbizd runs on this folder", n->data);
    free(path);
    return rc; /* held until the process ends */
}

static int read_key(struct node *n, struct mb_error *error)
{
    char *path = node_path(n, "keys/replica");
    struct mb_buf pem = {0};
    int rc = mb_read_file(path, 16384, &pem, error);
    if (rc == 0)
        rc = mb_secret_key_parse(&n->key, mb_buf_bytes(&pem), error);
    if (pem.data != NULL)
        sodium_memzero(pem.data, pem.cap);
    mb_buf_clear(&pem);
    free(path);
    return rc;
}

static void submit_for_module(void *self, struct mb_envelope *envelope,
                              void (*done)(void *arg, const struct mb_submitted *result), void *arg)
{
    struct node *n = self;
    sequence_submit_envelope(n->sequence, envelope, done, arg);
}

/* Our number among the replicas, in force or waiting to be; 0: we are none. */
static uint32_t own_number(struct node *n)
{
    struct mb_membership members[2];
    size_t count = node_configs(n, members, NULL);
    for (size_t i = 0; i < count; i++) {
        const struct mb_replica *own = mb_membership_find(&members[i], &n->key.public_key);
        if (own != NULL)
            return (uint32_t)own->number;
    }
    return 0;
}

static int start_ledger(struct node *n, struct mb_error *error)
{
    mb_work_threads(n->loop, (unsigned)mb_config_int(n->config, "daemon", "worker_threads"));
    int rc = read_key(n, error);
    if (rc != 0)
        return rc;
    n->links = links_new(n);
    n->checkpoints = checkpoints_new(n);
    rc = node_recover(n, error);
    if (rc != 0)
        return rc;
    n->number = own_number(n);
    n->services = (struct mb_services){.loop = n->loop,
                                       .ledger = n->ledger,
                                       .config = n->config,
                                       .modules = &n->modules,
                                       .key = &n->key,
                                       .data_dir = n->data,
                                       .submit = submit_for_module,
                                       .ask = links_ask_module,
                                       .self = n};
    n->sequence = sequence_new(n);
    n->consensus = consensus_new(n);
    n->settle = settle_new(n);
    n->snapshots = snapshots_new(n);
    n->api = api_new(n);
    return 0;
}

static int start_modules(struct node *n, struct mb_error *error)
{
    int rc = 0;
    for (size_t i = 0; i < n->modules.count && rc == 0; i++) {
        const struct mb_module *m = n->modules.modules[i];
        n->running[i].host = mb_host_new(&n->services, m, error);
        if (n->running[i].host == NULL)
            return MB_EIO;
        if (m->start != NULL)
            rc = m->start(n->running[i].host, &n->running[i].self, error);
        n->running[i].started = rc == 0;
    }
    return rc;
}

static void add_routes(struct node *n, struct mb_http_server *s)
{
    mb_http_server_routes(s, api_routes(), n);
    mb_http_server_routes(s, api_read_routes(), n);
    mb_http_server_routes(s, api_stream_routes(), n);
    mb_http_server_routes(s, api_operator_routes(), n);
    mb_http_server_routes(s, api_replica_routes(), n);
    for (size_t i = 0; i < n->modules.count; i++)
        if (n->modules.modules[i]->routes != NULL)
            mb_http_server_routes(s, n->modules.modules[i]->routes, n->running[i].self);
}

static int start_sockets(struct node *n, struct mb_error *error)
{
    char *folder = node_path(n, "run"), *public_path = node_path(n, "run/public.sock");
    char *operator_path = node_path(n, "run/operator.sock");
    struct mb_http_options options = {.connections_max =
                                          (unsigned)mb_config_int(n->config, "http", "connections"),
                                      .idle_ms = mb_config_int(n->config, "http", "idle") * 1000};
    struct mb_http_options operator_options = {.operator_socket = true, .idle_ms = options.idle_ms};
    int rc = mb_make_dir(folder, 0700, error);
    if (rc == 0)
        rc = mb_http_server_new(&n->public_http, n->loop, public_path, 0600, &options, error);
    if (rc == 0)
        rc = mb_http_server_new(&n->operator_http, n->loop, operator_path, 0600, &operator_options,
                                error);
    if (rc == 0) {
        add_routes(n, n->public_http);
        add_routes(n, n->operator_http);
    }
    free(folder);
    free(public_path);
    free(operator_path);
    return rc;
}

static void stop_modules(struct node *n)
{
    for (size_t i = n->modules.count; i-- > 0;) {
        if (n->running[i].started && n->modules.modules[i]->stop != NULL)
            n->modules.modules[i]->stop(n->running[i].self);
        mb_host_free(n->running[i].host);
        n->running[i].started = false;
    }
}

static void stop_all(struct node *n)
{
    follow_stop(n->follow);
    consensus_close(n->consensus);
    links_free(n->links);
    n->links = NULL;
    onions_stop(n);
    mb_wal_close(n->wal);
    mb_work_wait(n->loop);
    sequence_abandon(n->sequence);
    mb_http_server_free(n->public_http);
    mb_http_server_free(n->operator_http);
    stop_modules(n);
    consensus_free(n->consensus);
    sequence_free(n->sequence);
    settle_free(n->settle);
    beacon_free(n->beacon);
    checkpoints_free(n->checkpoints);
    node_recovered(n);
    api_free(n->api);
    mb_loop_free(n->loop);
    follow_free(n->follow);
    snapshots_free(n->snapshots);
    node_close_storage(n);
    mb_secret_key_clear(&n->key);
}

static int start_all(struct node *n, struct mb_error *error)
{
    int rc = lock_data(n, error);
    if (rc == 0)
        rc = start_ledger(n, error);
    if (rc == 0)
        rc = start_modules(n, error);
    if (rc == 0)
        rc = node_start_consensus(n, error);
    if (rc == 0)
        rc = start_sockets(n, error);
    if (rc == 0)
        rc = onions_start(n, error);
    if (rc == 0 && n->number != 0)
        rc = links_start(n->links, n->incarnation, error);
    if (rc == 0 && n->number != 0)
        rc = checkpoints_resume(n->checkpoints, error);
    if (rc == 0 && n->number != 0)
        n->beacon = beacon_new(n);
    if (rc == 0 && (n->follow = follow_new(n, error)) == NULL)
        rc = MB_EINVAL;
    return rc;
}

/* --- Stopping: nothing new, what is under way ends, then out; by force after DRAIN_MS. --- */

struct stopping {
    struct node *node;
    size_t waiting;
    struct mb_timer *force;
};

static void stop_now(void *arg)
{
    struct stopping *s = arg;
    mb_loop_stop(s->node->loop);
}

static void part_drained(void *arg)
{
    struct stopping *s = arg;
    if (--s->waiting == 0)
        stop_now(s);
}

static void begin_stop(struct node *n)
{
    static struct stopping s;
    if (n->stopping)
        return;
    n->stopping = true;
    if (!n->again)
        notify("STOPPING=1");
    if (n->exit_status != 0 || n->operator_http == NULL) {
        if (n->loop != NULL)
            mb_loop_stop(n->loop);
        return;
    }
    s = (struct stopping){.node = n, .waiting = 3};
    for (size_t i = 0; i < n->modules.count; i++)
        s.waiting += n->running[i].started && n->modules.modules[i]->drain != NULL;
    s.force = mb_timer_new(n->loop, stop_now, &s);
    mb_timer_set(s.force, DRAIN_MS);
    for (size_t i = 0; i < n->modules.count; i++)
        if (n->running[i].started && n->modules.modules[i]->drain != NULL)
            n->modules.modules[i]->drain(n->running[i].self, part_drained, &s);
    mb_http_server_drain(n->public_http, DRAIN_MS - 500, part_drained, &s);
    mb_http_server_drain(n->operator_http, DRAIN_MS - 500, part_drained, &s);
    consensus_stop(n->consensus);
    sequence_drain(n->sequence, part_drained, &s);
}

void node_restart(struct node *n)
{
    n->again = true;
    begin_stop(n);
}

static void on_terminate(void *arg)
{
    struct node *n = arg;
    mb_log(MB_LOG_INFO, "daemon", "terminating", "");
    n->again = false;
    begin_stop(n);
}

/* Options marked `reload` take effect; a file that does not hold changes nothing. */
static void on_hangup(void *arg)
{
    struct node *n = arg;
    struct mb_config *config;
    struct mb_section *sections;
    struct mb_error error = {0};
    struct mb_modules modules = n->modules;
    mb_log_reopen();
    if (node_read_config(n->config_file, &config, &modules, &sections, &error) != 0) {
        mb_log(MB_LOG_ERROR, "daemon", "not_reloaded", "code=%s text=%s", error.code, error.text);
        return;
    }
    mb_config_free(n->config);
    free(n->sections);
    n->config = config;
    n->sections = sections;
    n->services.config = config;
    mb_log(MB_LOG_INFO, "daemon", "reloaded", "");
}

static int serve(struct node *n)
{
    struct mb_error error = {0};
    struct mb_signal *signals[3] = {mb_signal_new(n->loop, SIGTERM, on_terminate, n),
                                    mb_signal_new(n->loop, SIGINT, on_terminate, n),
                                    mb_signal_new(n->loop, SIGHUP, on_hangup, n)};
    int rc = start_all(n, &error);
    if (rc == 0) {
        mb_log(MB_LOG_INFO, "daemon", "started", "version=%s", PACKAGE_VERSION);
        notify("READY=1");
        mb_loop_run(n->loop);
        rc = n->exit_status;
        mb_log(MB_LOG_INFO, "daemon", "stopped", "status=%d", rc);
    } else {
        mb_log(MB_LOG_ERROR, "daemon", "not_started", "code=%s", error.code);
        fprintf(stderr, "magicbizd: %s\n", error.text[0] != 0 ? error.text : error.code);
        rc = 1;
    }
    n->stopping = true;
    for (size_t i = 0; i < 3; i++)
        mb_signal_free(signals[i]);
    stop_all(n);
    return rc;
}

/* No core dumps (keys), no broken pipes, no other user's eyes; and room for every connection's
 * three descriptors. */
static void harden(void)
{
    struct rlimit none = {0, 0}, files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    signal(SIGPIPE, SIG_IGN);
    umask(077);
}

int run_main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct node n;
    char path[PATH_MAX];
    struct mb_error error = {0};
    bool check = false;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (c == '?') {
            fputs(usage, stderr);
            return 2;
        }
        check = check || c == 'k';
        n.config_file = c == 'c' ? optarg : n.config_file;
    }
    if (n.config_file == NULL || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (realpath(n.config_file, path) == NULL) {
        fprintf(stderr, "magicbizd: %s: %s: magicbizd init writes one into its --data folder\n",
                n.config_file, strerror(errno));
        return 1;
    }
    n.config_file = path;
    if (sodium_init() < 0 ||
        node_read_config(path, &n.config, &n.modules, &n.sections, &error) != 0) {
        fprintf(stderr, "magicbizd: %s\n", error.text);
        return 1;
    }
    if (check) {
        printf("%s: ok\n", path);
    } else {
        harden();
        n.data = mb_strdup(mb_config_text(n.config, "daemon", "data"));
        const char *log_file = mb_config_text(n.config, "daemon", "log_file");
        if (*log_file != 0 && !mb_log_file(log_file)) {
            fprintf(stderr, "magicbizd: %s: %s\n", log_file, strerror(errno));
            return 1;
        }
        n.loop = mb_loop_new();
        n.started_ms = mb_now_ms();
        n.exit_status = serve(&n);
    }
    bool again = n.again && n.exit_status == 0;
    mb_config_free(n.config);
    free(n.sections);
    free(n.data);
    if (again) { /* it has become a replica: all parts are made anew */
        char *const anew[] = {"magicbizd", "run", "--config", path, NULL};
        execv("/proc/self/exe", anew);
        fprintf(stderr, "magicbizd: %s: start it again\n", strerror(errno));
        return 1;
    }
    return n.exit_status;
}
