/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/plan.h"

uint64_t plan_batch(uint64_t batch, uint64_t count, uint64_t bytes)
{
    uint64_t fits = bytes == 0 ? PLAN_BLOCKS_MAX : (uint64_t)PLAN_BYTES * count / bytes;
    uint64_t most = 2 * batch < PLAN_BLOCKS_MAX ? 2 * batch : PLAN_BLOCKS_MAX;
    if (count < batch && bytes <= PLAN_BYTES) /* so few were missing */
        return batch;
    return fits < 1 ? 1 : fits < most ? fits : most;
}

uint64_t plan_smaller(uint64_t batch)
{
    return batch > 4 ? batch / 4 : 1;
}

uint64_t plan_range(uint64_t tip, uint64_t checkpoint, uint64_t batch)
{
    uint64_t missing = checkpoint > tip ? checkpoint - tip : 0;
    return missing < batch ? missing : batch;
}

bool plan_snapshot(uint64_t tip, uint64_t newest, uint64_t behind, bool gone)
{
    return behind > 0 && newest > tip && (gone || newest - tip >= behind);
}

bool plan_member_needs(struct plan_stall *stall, uint64_t applied, uint64_t newest, uint64_t window,
                       uint64_t behind, int64_t now_ms)
{
    if (stall->at != applied || newest <= applied + window) {
        stall->at = applied;
        stall->since_ms = now_ms;
    }
    return plan_snapshot(applied, newest, behind, now_ms - stall->since_ms > PLAN_STALLED_MS);
}

size_t plan_source(size_t *turn, size_t count, size_t self)
{
    if (*turn % count == self && count > 1)
        ++*turn;
    return *turn % count;
}

int64_t plan_lease_left(bool leads, int64_t until_ms, int64_t now_ms)
{
    if (!leads || until_ms <= now_ms)
        return 0;
    return until_ms == INT64_MAX ? INT64_MAX : until_ms - now_ms;
}

int64_t plan_lease_wait(int64_t left_ms, int64_t tick_ms)
{
    return left_ms > 0 && left_ms < tick_ms ? left_ms : tick_ms;
}
