/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whether the leader does its work, and this machine's clock is right; and what is told of it all.
 */
#include <inttypes.h>

#include "daemon/consensus_internal.h"

#define CLOCK_OFF_S      1800 /* from tor's consensus: this replica does not vote */
#define SUSPECT_ALARM_MS 3600000

static const char *const doubts[] = {
    [CONSENSUS_CENSORS] = "let a command lie",
    [CONSENSUS_FREEZES] = "let ledger time stand still",
    [CONSENSUS_HURRIES] = "proposed times over two minutes ahead of this machine's clock",
};

void consensus_suspect(struct consensus *c, enum consensus_doubt doubt)
{
    struct mb_paxos_status s = mb_paxos_status(c->core);
    int64_t now = mb_now_ms();
    bool again = c->suspected.count > 0 && s.leader == c->suspected.number &&
                 now < c->suspected.at_ms + 2 * s.election_ms;
    if (s.role == MB_PAXOS_LEADER || s.leader == 0 || again)
        return;
    c->suspected.number = s.leader;
    c->suspected.doubt = doubt;
    c->suspected.at_ms = now;
    c->suspected.count++;
    mb_log(MB_LOG_WARN, "consensus", "suspected", "replica=%u why=%s", s.leader, doubts[doubt]);
    consensus_happen(c, MB_EVENT_SUSPECT);
    consensus_run(c);
}

void consensus_check_clock(struct consensus *c)
{
    int64_t skew = MB_LIE("clock.off") ? 2 * CLOCK_OFF_S : onions_status(c->node).clock_skew_s;
    int64_t off = skew >= CLOCK_OFF_S || skew <= -CLOCK_OFF_S ? skew : 0;
    bool changed = (off == 0) != (c->clock_off == 0);
    c->clock_off = off;
    if (!changed)
        return;
    mb_log(MB_LOG_WARN, "consensus", off != 0 ? "abstains" : "votes_again", "clock_off_s=%" PRId64,
           off);
    consensus_happen(c, MB_EVENT_ABSTAIN)->event.abstain = off != 0;
    consensus_run(c);
}

void consensus_report(struct consensus *c, struct mb_report *r)
{
    struct mb_paxos_status s = mb_paxos_status(c->core);
    int64_t now = consensus_now(c);
    r->subsystem = "consensus";
    mb_report_gauge(r, "leader", "Number of the replica that leads; 0: not known.", s.leader);
    mb_report_gauge(r, "ballot_round", "Round of the newest ballot promised.",
                    (int64_t)s.promised.round);
    mb_report_gauge(r, "election_milliseconds", "The present election timeout.", s.election_ms);
    mb_report_counter(r, "elections_total", "Times this replica stood for election.", s.elections);
    mb_report_counter(r, "frames_sent_total", "Messages sent to other replicas.", c->sent_frames);
    mb_report_counter(r, "bytes_sent_total", "Bytes of them.", c->sent_bytes);
    mb_report_counter(r, "dropped_total", "Messages dropped because too much waited.", c->dropped);
    mb_report_counter(r, "malformed_total", "Messages of other replicas that did not hold.",
                      c->malformed);
    mb_report_counter(r, "ahead_total",
                      "Values not accepted yet because their time is over two minutes ahead.",
                      c->ahead);
    mb_report_counter(r, "crowded_total",
                      "Values left alone because those of slots not applied take too much memory.",
                      s.crowded);
    mb_report_gauge(r, "kept_bytes", "Values kept for slots that are not applied.",
                    (int64_t)s.kept_bytes);
    mb_report_counter(r, "suspected_total", "Times a leader was suspected of not doing its work.",
                      c->suspected.count);
    mb_report_gauge(r, "abstains", "1 if this replica does not vote because its clock is wrong.",
                    c->clock_off != 0);
    if (c->clock_off != 0)
        mb_report_alarm(r, "clock.off",
                        "this replica does not vote: its clock is %" PRId64 " s %s of tor's "
                        "consensus: set it",
                        c->clock_off < 0 ? -c->clock_off : c->clock_off,
                        c->clock_off < 0 ? "behind" : "ahead");
    if (c->suspected.count > 0 && mb_now_ms() < c->suspected.at_ms + SUSPECT_ALARM_MS)
        mb_report_alarm(r, "replica.suspected",
                        "replica %u led and %s, %" PRId64 " s ago: if it does so again, look at "
                        "its clock, or remove it (magicbiz replica remove)",
                        c->suspected.number, doubts[c->suspected.doubt],
                        (mb_now_ms() - c->suspected.at_ms) / 1000);
    if (s.faulty_to != 0)
        mb_report_alarm(r, "log.faulty",
                        "the log was damaged: this replica promises nothing until it has learnt "
                        "slot %" PRIu64 " from the others",
                        s.faulty_to);
    if (s.role != MB_PAXOS_OUTSIDE && s.leader == 0)
        mb_report_alarm(r, "consensus.no_leader",
                        "no replica leads: fewer than a majority can reach each other");
    for (size_t i = 0; i < s.peer_count; i++)
        if (s.peers[i].heard_ms < 0 || now - s.peers[i].heard_ms > 3 * s.election_ms)
            mb_report_alarm(r, "consensus.silent",
                            "replica %u has not been heard for long: is its machine on?",
                            s.peers[i].number);
}
