/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loop/log.h"
#include "tor/internal.h"

/* A consensus is from the future if our clock is slow; and it is replaced well before it ends, so
 * one that ended long ago while tor is up says that our clock is fast. */
#define EARLY_S      60
#define LATE_S       1800
#define SKEW_HOLD_MS 3600000 /* how long a CLOCK_SKEW event counts */

static void set_warning(struct mb_tor *t, char *out, size_t size, const char *text)
{
    if (strcmp(out, text) == 0)
        return;
    mb_snprintf(out, size, "%s", text);
    tor_changed(t);
}

void tor_advice_version(struct mb_tor *t, const char *recommendation)
{
    unsigned v[4];
    char fixed[32], text[sizeof t->version_warning] = "";
    const char *trouble =
        mb_tor_version_parse(v, t->version) == 0 ? tor_version_trouble(v, fixed) : NULL;
    bool discouraged = strcmp(recommendation, "old") == 0 ||
                       strcmp(recommendation, "obsolete") == 0 ||
                       strcmp(recommendation, "unrecommended") == 0;
    if (trouble != NULL)
        mb_snprintf(text, sizeof text, "tor %s: %s; update to %s or newer", t->version, trouble,
                    fixed);
    else if (discouraged)
        mb_snprintf(text, sizeof text, "tor %s: the directory authorities call it %s: update it",
                    t->version, recommendation);
    if (text[0] != '\0' && strcmp(text, t->version_warning) != 0)
        mb_log(MB_LOG_WARN, "tor", "version", "tor=%s fixed=%s status=%s", t->version,
               trouble != NULL ? fixed : "-", recommendation);
    set_warning(t, t->version_warning, sizeof t->version_warning, text);
}

static void set_skew(struct mb_tor *t, int64_t skew_s)
{
    char text[sizeof t->clock_warning] = "";
    if (skew_s != 0)
        mb_snprintf(text, sizeof text,
                    "this machine's clock is %lld s %s of the Tor network's: set it, or onion "
                    "services cannot be reached",
                    (long long)llabs(skew_s), skew_s > 0 ? "ahead" : "behind");
    if (skew_s != 0 && t->skew_s == 0)
        mb_log(MB_LOG_WARN, "tor", "clock", "skew_s=%lld", (long long)skew_s);
    t->skew_s = skew_s;
    set_warning(t, t->clock_warning, sizeof t->clock_warning, text);
}

void tor_advice_skew(struct mb_tor *t, const char *line)
{
    char *text = mb_control_value(line, "SKEW");
    if (text != NULL) {
        t->skew_until_ms = mb_now_ms() + SKEW_HOLD_MS;
        set_skew(t, strtoll(text, NULL, 10));
    }
    free(text);
}

/* "consensus/valid-after=2026-11-21 05:00:00", in UTC */
static bool parse_time(const struct mb_control_reply *r, size_t i, const char *key, int64_t *out)
{
    struct tm tm = {0};
    size_t len = strlen(key);
    if (r->status != 250 || r->count <= i || strncmp(r->lines[i], key, len) != 0)
        return false;
    const char *end = strptime(r->lines[i] + len, "%Y-%m-%d %H:%M:%S", &tm);
    if (end == NULL || *end != '\0')
        return false;
    *out = (int64_t)timegm(&tm);
    return true;
}

static void on_consensus(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    struct mb_tor *t = arg;
    int64_t after, until, now = mb_clock_s(), skew = 0;
    if (t->state != MB_TOR_UP || !parse_time(r, 0, "consensus/valid-after=", &after) ||
        !parse_time(r, 1, "consensus/valid-until=", &until))
        return;
    if (now < after - EARLY_S)
        skew = now - after;
    else if (now > until + LATE_S)
        skew = now - until;
    if (skew != 0 || mb_now_ms() >= t->skew_until_ms)
        set_skew(t, skew);
}

static void on_recommendation(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    static const char key[] = "status/version/current=";
    if (r->status == 250 && strncmp(r->lines[0], key, sizeof key - 1) == 0)
        tor_advice_version(arg, r->lines[0] + sizeof key - 1);
}

void tor_advice_ask(struct mb_tor *t)
{
    tor_link_send(t->link, on_recommendation, t, 0, "GETINFO status/version/current");
    tor_link_send(t->link, on_consensus, t, 0,
                  "GETINFO consensus/valid-after consensus/valid-until");
}
