/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What only the operator sees, on a socket of its own: health and metrics. */

#include <string.h>

#include "daemon/api.h"
#include "daemon/follow.h"

static json_t *onion_json(const struct mb_onion_status *o)
{
    return json_pack("{s:s, s:s, s:b, s:b, s:b}", "name", o->name, "onion", o->onion, "published",
                     o->published, "reachable", o->reachable, "proof_of_work", o->proof_of_work);
}

static json_t *tor_json(struct node *n)
{
    static const char *const states[] = {"down", "connecting", "bootstrap", "up", "refused"};
    struct mb_tor_status s = onions_status(n);
    json_t *onions = json_array();
    for (size_t i = 0; i < s.onion_count; i++)
        json_array_append_new(onions, onion_json(&s.onions[i]));
    return json_pack("{s:s, s:i, s:s, s:s, s:i, s:o}", "state", states[s.state], "bootstrap",
                     s.bootstrap_percent, "version", s.version, "error", s.error.text, "restarts",
                     (int)s.restarts, "onions", onions);
}

/* A warning about tor, or of what another replica did, is worth reading, but the organisation can
 * be served. */
static bool is_warning(const char *code)
{
    static const char *const codes[] = {"tor.warning", "replica.diverged", "replica.suspected",
                                        "vcs.false_pack", "vcs.false_receipt"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(code, codes[i]) == 0)
            return true;
    return false;
}

static bool is_ready(const json_t *alarms)
{
    const json_t *alarm;
    size_t i;
    json_array_foreach(alarms, i,
                       alarm) if (!is_warning(mb_json_get_text(alarm, "code", ""))) return false;
    return true;
}

static void get_health(void *self, struct mb_request *r)
{
    struct node *n = self;
    struct mb_report report;
    char fingerprint[MB_FINGERPRINT_SIZE];
    const struct mb_tip *tip = mb_ledger_tip(n->ledger);
    mb_report_init(&report);
    node_report(n, &report);
    mb_public_key_fingerprint(&n->key.public_key, fingerprint);
    json_t *json = json_pack("{s:b, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:O}", "ready",
                             is_ready(report.alarms), "version", PACKAGE_VERSION, "name",
                             mb_ledger_genesis(n->ledger)->name, "org", mb_ledger_org(n->ledger),
                             "replica", fingerprint, "slot", (json_int_t)tip->header.slot, "time",
                             (json_int_t)tip->time, "checkpoint", (json_int_t)tip->checkpoint_slot,
                             "uptime_s", (json_int_t)((mb_now_ms() - n->started_ms) / 1000), "tor",
                             tor_json(n), "alarms", report.alarms);
    mb_report_clear(&report);
    mb_reply_json(r, 200, json);
}

static void http_report(struct mb_report *r, const char *subsystem, struct mb_http_server *server)
{
    struct mb_http_stats s = mb_http_stats(server);
    r->subsystem = subsystem;
    mb_report_counter(r, "requests_total", "Requests begun.", s.requests);
    mb_report_counter(r, "received_bytes_total", "Bytes of bodies received.", s.bytes_in);
    mb_report_counter(r, "sent_bytes_total", "Bytes of bodies sent.", s.bytes_out);
    mb_report_gauge(r, "connections", "Connections open.", s.connections);
    mb_report_counter(r, "refused_total", "Answers 4xx.", s.by_class[4]);
    mb_report_counter(r, "failed_total", "Answers 5xx.", s.by_class[5]);
}

void node_report(struct node *n, struct mb_report *r)
{
    sequence_report(n->sequence, r);
    consensus_report(n->consensus, r);
    checkpoints_report(n->checkpoints, r);
    links_report(n->links, r);
    follow_report(n->follow, r);
    api_report(n->api, r);
    http_report(r, "public", n->public_http);
    http_report(r, "operator", n->operator_http);
    onions_report(n, r);
    r->subsystem = "log";
    mb_report_counter(r, "errors_total", "Events of level error.", mb_log_count(MB_LOG_ERROR));
    mb_report_counter(r, "warnings_total", "Events of level warn.", mb_log_count(MB_LOG_WARN));
    for (size_t i = 0; i < n->modules.count; i++) {
        r->subsystem = n->modules.logics[i]->name;
        if (n->running[i].started && n->modules.modules[i]->health != NULL)
            n->modules.modules[i]->health(n->running[i].self, r);
    }
}

static void get_metrics(void *self, struct mb_request *r)
{
    struct mb_report report;
    mb_report_init(&report);
    node_report(self, &report);
    report.subsystem = "daemon";
    mb_report_gauge(&report, "alarms", "Alarms that GET /v1/health lists.",
                    (int64_t)json_array_size(report.alarms));
    mb_buf_add_text(&report.metrics, "# EOF\n");
    mb_reply_take(r, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8",
                  &report.metrics);
    mb_report_clear(&report);
}

const struct mb_route *api_operator_routes(void)
{
    static const struct mb_route routes[] = {
        {.method = "GET", .pattern = "/v1/health", .operator_only = true, .begin = get_health},
        {.method = "GET", .pattern = "/metrics", .operator_only = true, .begin = get_metrics},
        {.method = NULL},
    };
    return routes;
}
