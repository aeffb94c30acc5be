/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The life of a connection to tor: start it or find it, authenticate, make sure that it is one we
 * may use, follow its bootstrap; and begin again whenever it is gone.
 */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "loop/log.h"
#include "tor/internal.h"

#define CHILD_POLL_MS     100   /* until its control socket is there */
#define CHILD_START_MS    20000 /* … and no longer */
#define CHILD_END_MS      3000  /* from SIGTERM to SIGKILL */
#define CHILD_BACKOFF_MS  500   /* doubled with each failure in a row */
#define CHILD_BACKOFF_MAX 30000
#define CHILD_STEADY_MS   60000 /* who lived so long begins anew */
#define RECONNECT_MS      1000
#define REFUSED_MS        5000
#define TICK_MS           1000
#define CHECK_MS          30000

void tor_changed(struct mb_tor *t)
{
    mb_timer_set(t->notify, 0);
}

static void on_notify(void *arg)
{
    struct mb_tor *t = arg;
    if (t->changed != NULL)
        t->changed(t->arg);
}

void tor_note_error(struct mb_tor *t, const struct mb_error *error)
{
    if (t->error_noted && strcmp(t->error.text, error->text) == 0)
        return;
    t->error_noted = true;
    t->error = *error;
    mb_log(MB_LOG_WARN, "tor", "failed", "code=%s", error->code);
    tor_changed(t);
}

static void set_state(struct mb_tor *t, enum mb_tor_state state)
{
    if (t->state == state)
        return;
    static const char *const names[] = {"down", "connecting", "bootstrap", "up", "refused"};
    mb_log(MB_LOG_INFO, "tor", "state", "state=%s", names[state]);
    t->state = state;
    if (state == MB_TOR_UP)
        t->error_noted = false;
    tor_changed(t);
}

/* A tor of these must not be used until somebody changes it. */
static bool is_refusal(const char *code)
{
    static const char *const codes[] = {"tor.auth",      "tor.old",       "tor.open",
                                        "tor.anonymity", "tor.listeners", "tor.socks"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(code, codes[i]) == 0)
            return true;
    return false;
}

static void disconnect(struct mb_tor *t)
{
    tor_onions_lost(t);
    tor_auth_free(t->auth);
    tor_link_free(t->link);
    free(t->found_socks);
    t->auth = NULL;
    t->link = NULL;
    t->found_socks = NULL;
    t->ready = false;
    t->percent = 0;
    mb_timer_cancel(t->tick);
}

static void on_gone(void *arg, const struct mb_error *error)
{
    struct mb_tor *t = arg;
    disconnect(t);
    tor_note_error(t, error);
    set_state(t, is_refusal(error->code) ? MB_TOR_REFUSED : MB_TOR_DOWN);
    if (t->process.child != NULL) { /* it is ours, and does not live without us */
        mb_child_kill(t->process.child, SIGTERM);
        t->ending = true;
        mb_timer_set(t->retry, CHILD_END_MS);
        return;
    }
    mb_timer_set(t->retry, t->state == MB_TOR_REFUSED ? REFUSED_MS : RECONNECT_MS);
}

static void fail(struct mb_tor *t, const char *code, const char *text)
{
    struct mb_error e;
    mb_fail(&e, MB_EREFUSED, code, "%s", text);
    tor_link_fail(t->link, &e);
}

/* Bootstrap and events */

static void set_percent(struct mb_tor *t, const char *line)
{
    char *text = mb_control_value(line, "PROGRESS");
    int percent = text != NULL ? (int)strtol(text, NULL, 10) : -1;
    free(text);
    if (percent < 0 || percent > 100)
        return;
    if (percent != t->percent)
        tor_changed(t);
    t->percent = percent;
    bool up = t->state != MB_TOR_UP && percent == 100;
    set_state(t, percent == 100 ? MB_TOR_UP : MB_TOR_BOOTSTRAP);
    if (up)
        tor_onions_up(t);
    if (up && t->ready)
        tor_advice_ask(t);
}

static bool is_event(const char *line, const char *type, const char *action)
{
    size_t n = strlen(type), m = strlen(action);
    if (strncmp(line, type, n) != 0 || line[n] != ' ')
        return false;
    const char *p = strchr(line + n + 1, ' '); /* behind the severity */
    return p != NULL && strncmp(p + 1, action, m) == 0 && (p[m + 1] == ' ' || p[m + 1] == '\0');
}

static void on_event(void *arg, const struct mb_control_reply *r)
{
    struct mb_tor *t = arg;
    const char *line = r->lines[0];
    if (is_event(line, "STATUS_CLIENT", "BOOTSTRAP"))
        set_percent(t, line);
    else if (is_event(line, "STATUS_CLIENT", "CIRCUIT_NOT_ESTABLISHED") && t->state == MB_TOR_UP)
        set_state(t, MB_TOR_BOOTSTRAP);
    else if (is_event(line, "STATUS_CLIENT", "CIRCUIT_ESTABLISHED") && t->percent == 100)
        set_state(t, MB_TOR_UP);
    else if (is_event(line, "STATUS_GENERAL", "CLOCK_SKEW"))
        tor_advice_skew(t, line);
    else if (is_event(line, "STATUS_GENERAL", "CLOCK_JUMPED"))
        mb_log(MB_LOG_WARN, "tor", "clock_jumped", "skew_s=%lld", (long long)t->skew_s);
    else
        tor_onions_event(t, line);
}

static void on_tick(void *arg)
{
    struct mb_tor *t = arg;
    mb_timer_set(t->tick, TICK_MS);
    if (tor_onions_missing(t))
        tor_onions_check(t);
    tor_onions_probe(t);
    if (mb_now_ms() - t->checked_ms < CHECK_MS)
        return;
    t->checked_ms = mb_now_ms();
    tor_onions_check(t);
    tor_advice_ask(t);
}

/* What is asked once, in this order, after authentication */

static void on_ok(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    if (r->status != 250)
        fail(arg, "tor.protocol", "tor refused a command of its control protocol");
}

static void on_anonymity(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    bool hidden = r->status == 250 && r->count == 2;
    for (size_t i = 0; hidden && i < r->count; i++) {
        const char *value = strchr(r->lines[i], '=');
        hidden = value != NULL && strcmp(value, "=0") == 0;
    }
    if (!hidden)
        fail(arg, "tor.anonymity",
             "this tor does not hide its onion services: remove HiddenServiceSingleHopMode and "
             "HiddenServiceNonAnonymousMode from its torrc");
}

/* "net/listeners/socks="unix:/run/tor/socks" "127.0.0.1:9050"": the first Unix socket (owned), and
 * whether there is anything else. */
static char *unix_listener(const char *line, bool *other)
{
    char *found = NULL;
    const char *p = strchr(line, '=');
    for (p = p != NULL ? strchr(p, '"') : NULL; p != NULL; p = strchr(p, '"')) {
        const char *end = strchr(p + 1, '"');
        if (end == NULL)
            break;
        if (strncmp(p, "\"unix:", 6) != 0)
            *other = true;
        else if (found == NULL)
            found = mb_strndup(p + 6, (size_t)(end - p) - 6);
        p = end + 1;
    }
    return found;
}

static void on_child_listeners(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    bool other = r->status != 250;
    for (size_t i = 0; i < r->count; i++)
        free(unix_listener(r->lines[i], &other));
    if (other)
        fail(arg, "tor.listeners",
             "the included torrc makes tor listen on the network: remove its …Port lines");
}

static void on_running_socks(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    struct mb_tor *t = arg;
    bool other = false;
    free(t->found_socks);
    t->found_socks = r->status == 250 ? unix_listener(r->lines[0], &other) : NULL;
    if (t->found_socks == NULL)
        fail(t, "tor.socks",
             "this tor has no SOCKS Unix socket: add `SocksPort unix:/run/tor/socks` to its torrc");
}

static void on_bootstrap(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    struct mb_tor *t = arg;
    if (r->status != 250) {
        fail(t, "tor.protocol", "tor does not tell how far its start is");
        return;
    }
    t->ready = true;
    set_state(t, MB_TOR_BOOTSTRAP);
    set_percent(t, r->lines[0]);
    tor_advice_version(t, "unknown");
    t->checked_ms = mb_now_ms();
    tor_clients_send(t);
    tor_onions_check(t);
    mb_timer_set(t->tick, TICK_MS);
}

static void on_authenticated(void *arg, const char *version)
{
    struct mb_tor *t = arg;
    size_t len = strcspn(version, " ");
    mb_snprintf(t->version, sizeof t->version, "%.*s", (int)len, version);
    mb_log(MB_LOG_INFO, "tor", "connected", "version=%s", t->version);
    if (t->mode == MB_TOR_CHILD) {
        tor_link_send(t->link, on_ok, t, 0, "TAKEOWNERSHIP");
        tor_link_send(t->link, on_child_listeners, t, 0,
                      "GETINFO net/listeners/or net/listeners/dir net/listeners/socks "
                      "net/listeners/trans net/listeners/natd net/listeners/dns "
                      "net/listeners/httptunnel net/listeners/control net/listeners/extor");
    } else if (t->socks == NULL) {
        tor_link_send(t->link, on_running_socks, t, 0, "GETINFO net/listeners/socks");
    }
    tor_link_send(t->link, on_anonymity, t, 0,
                  "GETCONF HiddenServiceSingleHopMode HiddenServiceNonAnonymousMode");
    tor_link_send(t->link, on_ok, t, 0, "SETEVENTS STATUS_CLIENT STATUS_GENERAL HS_DESC");
    tor_link_send(t->link, on_bootstrap, t, 0, "GETINFO status/bootstrap-phase");
}

static void on_publish(void *arg)
{
    tor_onions_release(arg);
}

/* Start, connect, and again */

static void on_exited(void *arg, int status)
{
    struct mb_tor *t = arg;
    char complaint[512];
    struct mb_error e;
    disconnect(t);
    mb_child_free(t->process.child);
    t->process.child = NULL;
    tor_process_complaint(&t->process, complaint, sizeof complaint);
    if (WIFSIGNALED(status))
        mb_fail(&e, MB_EREACH, "tor.ended", "tor was killed by signal %d; it is started again",
                WTERMSIG(status));
    else
        mb_fail(&e, MB_EREACH, "tor.ended", "tor ended with status %d, it is started again: %s",
                WEXITSTATUS(status),
                complaint[0] != '\0' ? complaint : "its log is tor.log in its folder");
    if (t->state != MB_TOR_REFUSED) {
        tor_note_error(t, &e);
        set_state(t, MB_TOR_DOWN);
    }
    if (mb_now_ms() - t->spawned_ms >= CHILD_STEADY_MS)
        t->failures = 0;
    int64_t wait = (int64_t)CHILD_BACKOFF_MS << (t->failures < 6 ? t->failures : 6);
    t->failures++;
    mb_timer_set(t->retry, wait < CHILD_BACKOFF_MAX ? wait : CHILD_BACKOFF_MAX);
}

static void spawn(struct mb_tor *t)
{
    struct mb_error e;
    if (tor_process_spawn(&t->process, t->loop, on_exited, t, &e) != 0) {
        tor_note_error(t, &e);
        mb_timer_set(t->retry, CHILD_BACKOFF_MAX);
        return;
    }
    t->ending = false;
    t->spawns++;
    t->spawned_ms = mb_now_ms();
    mb_log(MB_LOG_INFO, "tor", "started", "starts=%u", t->spawns);
    mb_timer_set(t->retry, CHILD_POLL_MS);
}

static void connect_to(struct mb_tor *t, const char *control)
{
    bool child = t->mode == MB_TOR_CHILD;
    struct mb_error e;
    int fd = tor_control_connect(control, &e);
    if (fd < 0 && child) { /* not yet */
        mb_timer_set(t->retry, CHILD_POLL_MS);
        return;
    }
    if (fd < 0) {
        struct mb_error said;
        mb_fail(&said, MB_EREACH, "tor.connect",
                "%s: does tor run, and is this user in the group debian-tor?", e.text);
        tor_note_error(t, &said);
        set_state(t, MB_TOR_DOWN);
        mb_timer_set(t->retry, RECONNECT_MS);
        return;
    }
    struct tor_auth_options o = {.password_file = t->password_file,
                                 .cookie_file = child ? t->process.cookie : t->cookie_file,
                                 .local = control[0] == '/'};
    if (t->state != MB_TOR_REFUSED)
        set_state(t, MB_TOR_CONNECTING);
    t->link = tor_link_new(t->loop, fd, on_event, on_gone, t);
    t->auth = tor_auth_start(t->link, &o, on_authenticated, t);
}

static void on_retry(void *arg)
{
    struct mb_tor *t = arg;
    if (t->mode != MB_TOR_CHILD)
        connect_to(t, t->control);
    else if (t->process.child == NULL)
        spawn(t);
    else if (t->ending || mb_now_ms() - t->spawned_ms > CHILD_START_MS)
        mb_child_kill(t->process.child, SIGKILL); /* on_exited goes on */
    else
        connect_to(t, t->process.control);
}

static int check_control(const struct mb_tor_options *o, struct mb_error *error)
{
    if (o->control == NULL)
        return mb_fail(error, MB_EINVAL, "tor.options", "name the control port of the running tor");
    if (o->control[0] != '/' && !o->allow_tcp_control)
        return mb_fail(error, MB_EINVAL, "tor.options",
                       "the control port must be a Unix socket: add `ControlPort "
                       "unix:/run/tor/control` to tor's torrc, and name that path");
    return tor_control_parse(o->control, NULL, error);
}

static char *copy(const char *text)
{
    return text != NULL ? mb_strdup(text) : NULL;
}

int mb_tor_start(struct mb_tor **out, struct mb_loop *loop, const struct mb_tor_options *options,
                 struct mb_error *error)
{
    struct mb_tor *t = mb_calloc(1, sizeof *t);
    int rc = 0;
    if (options->mode == MB_TOR_CHILD)
        rc = tor_process_init(&t->process, options, error);
    else if (options->mode == MB_TOR_RUNNING)
        rc = check_control(options, error);
    if (rc != 0) {
        tor_process_clear(&t->process);
        free(t);
        return rc;
    }
    t->loop = loop;
    t->mode = options->mode;
    t->control = copy(options->control);
    t->socks = copy(options->socks);
    t->password_file = copy(options->password_file);
    t->cookie_file = copy(options->cookie_file);
    t->changed = options->changed;
    t->arg = options->arg;
    t->retry = mb_timer_new(loop, on_retry, t);
    t->tick = mb_timer_new(loop, on_tick, t);
    t->notify = mb_timer_new(loop, on_notify, t);
    t->publish = mb_timer_new(loop, on_publish, t);
    t->jitter_ms = options->publish_jitter_ms;
    t->held = t->jitter_ms > 0;
    if (t->mode != MB_TOR_NONE)
        mb_timer_set(t->retry, 0);
    *out = t;
    return 0;
}

void mb_tor_stop(struct mb_tor *t)
{
    if (t == NULL)
        return;
    disconnect(t);
    while (t->onion_count > 0)
        mb_tor_withdraw(t, t->onions[0].name);
    explicit_bzero(t->clients, sizeof t->clients);
    tor_process_clear(&t->process);
    mb_timer_free(t->retry);
    mb_timer_free(t->tick);
    mb_timer_free(t->notify);
    mb_timer_free(t->publish);
    char *owned[] = {t->control, t->socks, t->password_file, t->cookie_file};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    free(t);
}

const char *mb_tor_socks(const struct mb_tor *t)
{
    if (t->mode == MB_TOR_CHILD)
        return t->process.socks;
    return t->socks != NULL ? t->socks : t->found_socks;
}

struct mb_tor_status mb_tor_status(const struct mb_tor *t)
{
    struct mb_tor_status s = {.state = t->state,
                              .bootstrap_percent = t->percent,
                              .clock_skew_s = t->skew_s,
                              .restarts = t->spawns > 1 ? t->spawns - 1 : 0,
                              .error = t->error,
                              .onion_count = t->onion_count};
    mb_snprintf(s.version, sizeof s.version, "%s", t->version);
    mb_snprintf(s.warning, sizeof s.warning, "%s%s%s", t->clock_warning,
                t->clock_warning[0] != '\0' && t->version_warning[0] != '\0' ? "; " : "",
                t->version_warning);
    for (size_t i = 0; i < t->onion_count; i++) {
        const struct onion *o = &t->onions[i];
        struct mb_onion_status *out = &s.onions[i];
        *out = (struct mb_onion_status){.name = o->name,
                                        .published = o->published,
                                        .reachable = o->reachable,
                                        .proof_of_work = o->published && o->defended,
                                        .reachable_since_ms = o->reachable_since_ms};
        memcpy(out->onion, o->address, sizeof out->onion);
    }
    return s;
}
