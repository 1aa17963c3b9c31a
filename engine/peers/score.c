#include "engine/peers/score.h"

#include <stdbool.h>

#include "engine/base/hash.h"
#include "engine/mem/heap.h"
#include "engine/peers/admit.h"
#include "weir/error.h"

#define WAYS 8u
#define SETS 512u
#define MILLI 1000u /* a point, as it is kept: what is left of few points still decays */

struct place {
    uint64_t hash; /* of the address; 0: free */
    uint64_t at_ns;
    uint32_t milli; /* at at_ns */
};

struct weir_score {
    uint64_t seed, half_life_ns;
    struct place places[SETS][WAYS];
};

int weir_score_create(struct weir_score **ret_score, uint64_t seed, uint64_t half_life_ns)
{
    struct weir_score *score = weir_heap_alloc_table(NULL, sizeof(*score));
    if (!score)
        return WEIR_E_NOMEM;
    score->seed = seed;
    score->half_life_ns = half_life_ns;
    *ret_score = score;
    return 0;
}

void weir_score_free(struct weir_score *score)
{
    weir_heap_release_table(score, sizeof(*score));
}

/* Halved for each half life, and linearly between two of them: at most 6 % above the exponential. */
static uint32_t decayed(const struct weir_score *score, const struct place *place, uint64_t now_ns)
{
    uint64_t age = now_ns > place->at_ns ? now_ns - place->at_ns : 0;
    uint64_t halves = age / score->half_life_ns;
    if (halves >= 32)
        return 0;
    uint64_t milli = place->milli >> halves;
    uint64_t part = age % score->half_life_ns * 1024 / score->half_life_ns; /* 0 .. 1023 */
    return (uint32_t)(milli - milli * part / 2048);
}

static bool hash_of(const struct weir_score *score, const struct weir_addr *addr,
                    uint64_t *ret_hash)
{
    struct weir_prefix prefix;
    if (!weir_addr_prefix(&prefix, addr, WEIR_ADDRESS_BITS_IPV4, WEIR_ADDRESS_BITS_IPV6))
        return false;
    uint64_t hash = weir_hash_ops()->xxh3(&prefix, sizeof(prefix), score->seed);
    *ret_hash = hash ? hash : 1;
    return true;
}

/* The address's place, or the one with the fewest points now. */
static struct place *place_of(struct weir_score *score, uint64_t hash, uint64_t now_ns)
{
    struct place *set = score->places[hash % SETS];
    struct place *least = &set[0];
    for (uint32_t i = 0; i < WAYS; i++) {
        if (set[i].hash == hash)
            return &set[i];
        if (decayed(score, &set[i], now_ns) < decayed(score, least, now_ns))
            least = &set[i];
    }
    return least;
}

uint32_t weir_score_add(struct weir_score *score, const struct weir_addr *addr, uint32_t points,
                        uint64_t now_ns)
{
    uint64_t hash;
    if (!hash_of(score, addr, &hash))
        return 0;
    struct place *place = place_of(score, hash, now_ns);
    uint64_t milli = place->hash == hash ? decayed(score, place, now_ns) : 0;
    milli += (uint64_t)points * MILLI;
    if (milli > (uint64_t)WEIR_POINTS_MAX * MILLI)
        milli = (uint64_t)WEIR_POINTS_MAX * MILLI;
    *place = (struct place){.hash = hash, .at_ns = now_ns, .milli = (uint32_t)milli};
    return (uint32_t)(milli / MILLI);
}

void weir_score_clear(struct weir_score *score, const struct weir_addr *addr)
{
    uint64_t hash;
    if (!hash_of(score, addr, &hash))
        return;
    struct place *place = place_of(score, hash, 0);
    if (place->hash == hash)
        *place = (struct place){0};
}

/* Half of the threshold for what only broken or hostile code sends; less for what damage on the way or an
 * honest mistake can look like; nothing for what nobody is to blame for. */
uint32_t weir_score_points(uint16_t reason)
{
    switch (reason) {
    case WEIR_R_BAD_MAGIC:
    case WEIR_R_BAD_LENGTH:
    case WEIR_R_BAD_CHANNEL:
    case WEIR_R_BAD_RUN:
    case WEIR_R_BAD_FRAGMENT:
    case WEIR_R_BAD_CONTROL:
    case WEIR_R_MESSAGE_TOO_BIG:
    case WEIR_R_CREDIT:
    case WEIR_R_FLOOD:
    case WEIR_R_BAD_REQUEST:
    case WEIR_R_BAD_GOSSIP:
        return 50;
    case WEIR_R_BAD_HEADER:
    case WEIR_R_BAD_CHECKSUM:
    case WEIR_R_BAD_KIND:
        return 25;
    case WEIR_R_BAD_HELLO:
    case WEIR_R_HANDSHAKE_BYTES:
    case WEIR_R_BAD_KEY: /* neither of these two happens by mistake */
    case WEIR_R_BAD_IDENTITY:
        return 20;
    case WEIR_R_HANDSHAKE_TIMEOUT:
    case WEIR_R_NOT_WEIR:
    case WEIR_R_HTTP:
    case WEIR_R_TLS:
        return 10;
    default:
        return 0;
    }
}
