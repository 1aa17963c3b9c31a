#include "demo_run.h"

#include <inttypes.h>

#include "cli.h"
#include "json_out.h"

static double elapsed_s(const struct demo_run *run)
{
    return (double)(run->done_ns - run->go_ns) / 1e9;
}

struct sums {
    struct histogram latency, lateness;
    uint64_t frames_checked, frames_failed;
    uint64_t files_good, files_bad, votes_lost, states_lost, stamps_bad;
    uint64_t bytes_all, copied_ns;
    uint64_t votes, duplicates, asked, pushed; /* gossip's, of all nodes */
    uint32_t found_min, up_min, up_max;
};

static void sum_up(struct sums *sums, const struct demo_run *run)
{
    *sums = (struct sums){.found_min = UINT32_MAX, .up_min = UINT32_MAX};
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        const struct demo_slot *slot = &run->slots[i];
        sums->frames_checked += slot->metrics.frames_received;
        sums->frames_failed += slot->metrics.frames_failed;
        sums->files_good += slot->files_good;
        sums->files_bad += slot->files_bad;
        sums->votes_lost += slot->votes_lost;
        sums->states_lost += slot->states_lost;
        sums->stamps_bad += slot->stamps_bad;
        if (slot->copied_ns > sums->copied_ns)
            sums->copied_ns = slot->copied_ns;
        sums->votes += slot->gossip.delivered;
        sums->duplicates += slot->gossip.duplicates;
        sums->asked += slot->gossip.asked;
        sums->pushed += slot->gossip.pushed;
        if (slot->peers_found < sums->found_min)
            sums->found_min = slot->peers_found;
        if (slot->peers_up < sums->up_min)
            sums->up_min = slot->peers_up;
        if (slot->peers_up > sums->up_max)
            sums->up_max = slot->peers_up;
        histogram_merge(&sums->latency, &slot->vote_latency);
        histogram_merge(&sums->lateness, &slot->vote_lateness);
    }
    for (size_t i = 0; i < DEMO_CHANNEL_CNT; i++)
        sums->bytes_all += demo_run_bytes(run, i);
}

static const struct weir_channel_metrics *metrics_of(const struct demo_slot *slot, uint16_t id)
{
    for (uint32_t i = 0; i < slot->metrics.channel_cnt && i < WEIR_CHANNELS_MAX; i++) {
        if (slot->metrics.channels[i].id == id)
            return &slot->metrics.channels[i];
    }
    return NULL;
}

bool demo_run_is_good(const struct demo_run *run, char *why, size_t why_len)
{
    static struct sums sums;
    sum_up(&sums, run);
    uint64_t files_wanted = run->slots[0].files_total * (run->node_cnt - 1);
    if (sums.files_bad > 0 || sums.files_good != files_wanted)
        snprintf(why, why_len,
                 "%" PRIu64 " of %" PRIu64 " copies are identical to the source's file",
                 sums.files_good, files_wanted);
    else if (sums.frames_failed > 0)
        snprintf(why, why_len, "%" PRIu64 " frames failed their check", sums.frames_failed);
    else if (sums.stamps_bad > 0)
        snprintf(why, why_len,
                 "%" PRIu64 " votes or state messages arrived damaged or out of order",
                 sums.stamps_bad);
    else if (sums.votes_lost + sums.states_lost > 0)
        snprintf(why, why_len, "%" PRIu64 " votes and %" PRIu64 " state messages were lost",
                 sums.votes_lost, sums.states_lost);
    else
        return true;
    return false;
}

/* ---- text ---------------------------------------------------------------------------------- */

static void print_channels(const struct demo_run *run, const struct sums *sums)
{
    printf("channel  weight      messages       bytes     share        rate\n");
    for (size_t i = 0; i < DEMO_CHANNEL_CNT; i++) {
        const struct demo_channel_spec *spec = &demo_channels[i];
        double bytes = (double)demo_run_bytes(run, i);
        char weight[16], msgs[CLI_TEXT_BYTES], text[CLI_TEXT_BYTES], rate[CLI_TEXT_BYTES];
        snprintf(weight, sizeof(weight), "%u", spec->weight);
        printf("%-8s %-7s %12s  %10s  %6.2f %%  %10s\n", spec->name,
               spec->is_urgent ? "urgent" : weight, cli_count_text(msgs, demo_run_msgs(run, i)),
               cli_bytes_text(text, bytes), 100.0 * bytes / (double)sums->bytes_all,
               cli_rate_text(rate, bytes / elapsed_s(run)));
    }
}

static void print_latency(const char *name, const struct histogram *histogram)
{
    char text[4][CLI_TEXT_BYTES];
    printf("%s p50 %s, p99 %s, p99.9 %s, max %s\n", name,
           cli_time_text(text[0], (double)histogram_quantile(histogram, 0.5)),
           cli_time_text(text[1], (double)histogram_quantile(histogram, 0.99)),
           cli_time_text(text[2], (double)histogram_quantile(histogram, 0.999)),
           cli_time_text(text[3], (double)histogram->max));
}

static double duplicates_per_vote(const struct sums *sums)
{
    return sums->votes > 0 ? (double)sums->duplicates / (double)sums->votes : 0;
}

static void print_mesh(const struct demo_run *run, const struct sums *sums)
{
    char up[32], votes[CLI_TEXT_BYTES], asked[CLI_TEXT_BYTES];
    if (sums->up_min == sums->up_max)
        snprintf(up, sizeof(up), "%u", sums->up_min);
    else
        snprintf(up, sizeof(up), "%u to %u", sums->up_min, sums->up_max);
    printf("peers    told one address, each node found %s%u of the %u other%s; connected to %s\n",
           sums->found_min < run->node_cnt - 1 ? "at least " : "", sums->found_min,
           run->node_cnt - 1, cli_plural(run->node_cnt - 1), up);
    printf("gossip   %s votes delivered; %.2f duplicates per vote, %s asked for\n",
           cli_count_text(votes, sums->votes), duplicates_per_vote(sums),
           cli_count_text(asked, sums->asked));
}

static void print_nodes(const struct demo_run *run)
{
    for (uint32_t i = 1; i < run->node_cnt; i++) {
        const struct demo_slot *slot = &run->slots[i];
        char good[CLI_TEXT_BYTES], total[CLI_TEXT_BYTES], again[CLI_TEXT_BYTES];
        printf("node %-2u  %s of %s files identical (SHA-256)", i + 1,
               cli_count_text(good, slot->files_good), cli_count_text(total, slot->files_total));
        if (slot->bytes_compared + slot->bytes_hashed > 0)
            printf("; then %s more, %s",
                   cli_bytes_text(again, (double)(slot->bytes_compared + slot->bytes_hashed)),
                   slot->has_copy ? "every byte compared with that copy"
                                  : "every file hashed again");
        printf("\n");
    }
}

void demo_run_print(const struct demo_run *run)
{
    static struct sums sums;
    sum_up(&sums, run);
    const struct demo_slot *source = &run->slots[0];
    char files[CLI_TEXT_BYTES], bytes[CLI_TEXT_BYTES], rate[CLI_TEXT_BYTES], frames[CLI_TEXT_BYTES];
    char first[CLI_TEXT_BYTES];
    printf("%s file%s, %s, from %s to %u node%s; %s\n", cli_count_text(files, source->files_total),
           cli_plural(source->files_total), cli_bytes_text(bytes, (double)source->bytes_total),
           run->directory, run->node_cnt - 1, cli_plural(run->node_cnt - 1),
           run->out != NULL ? run->out : "received files were kept in memory");
    printf("first copy complete everywhere after %s; %.1f s in all, %s of files a second\n\n",
           cli_time_text(first, (double)(sums.copied_ns - run->go_ns)), elapsed_s(run),
           cli_rate_text(rate, (double)demo_run_bytes(run, DEMO_BULK - 1) / elapsed_s(run)));
    print_channels(run, &sums);
    printf("\n");
    print_latency("votes    queued to received:  ", &sums.latency);
    print_latency("         due to received:     ", &sums.lateness);
    printf("frames   %s checked, %" PRIu64 " failed\n", cli_count_text(frames, sums.frames_checked),
           sums.frames_failed);
    print_mesh(run, &sums);
    print_nodes(run);
    if (source->files_skipped > 0)
        printf("\nleft out because they cannot be read: %" PRIu64 " file%s, the first is %s\n",
               source->files_skipped, cli_plural(source->files_skipped), source->first_skipped);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static struct json_out *json_latency(const struct histogram *histogram)
{
    struct json_out *object = json_out_object();
    json_out_count(object, "count", histogram->cnt);
    json_out_count(object, "p50_ns", histogram_quantile(histogram, 0.5));
    json_out_count(object, "p99_ns", histogram_quantile(histogram, 0.99));
    json_out_count(object, "p99_9_ns", histogram_quantile(histogram, 0.999));
    json_out_count(object, "max_ns", histogram->max);
    return object;
}

static struct json_out *json_channels(const struct demo_run *run, const struct sums *sums)
{
    struct json_out *list = json_out_array();
    for (size_t i = 0; i < DEMO_CHANNEL_CNT; i++) {
        const struct demo_channel_spec *spec = &demo_channels[i];
        struct json_out *object = json_out_object();
        double bytes = (double)demo_run_bytes(run, i);
        uint64_t refused = 0, stalls = 0;
        for (uint32_t k = 0; k < run->node_cnt; k++) {
            const struct weir_channel_metrics *metrics = metrics_of(&run->slots[k], spec->id);
            refused += metrics != NULL ? metrics->msgs_refused : 0;
            stalls += metrics != NULL ? metrics->credit_stalls : 0;
        }
        json_out_text(object, "name", spec->name);
        json_out_count(object, "id", spec->id);
        json_out_count(object, "weight", spec->weight);
        json_out_bool(object, "urgent", spec->is_urgent);
        json_out_count(object, "messages", demo_run_msgs(run, i));
        json_out_count(object, "bytes", demo_run_bytes(run, i));
        json_out_real(object, "share", bytes / (double)sums->bytes_all);
        json_out_real(object, "bytes_per_s", bytes / elapsed_s(run));
        json_out_count(object, "refused", refused);
        json_out_count(object, "credit_stalls", stalls);
        json_out_push(list, object);
    }
    return list;
}

static struct json_out *json_gossip(const struct sums *sums)
{
    struct json_out *object = json_out_object();
    json_out_count(object, "delivered", sums->votes);
    json_out_count(object, "pushed", sums->pushed);
    json_out_count(object, "duplicates", sums->duplicates);
    json_out_real(object, "duplicates_per_vote", duplicates_per_vote(sums));
    json_out_count(object, "asked", sums->asked);
    return object;
}

static struct json_out *json_nodes(const struct demo_run *run)
{
    struct json_out *list = json_out_array();
    for (uint32_t i = 0; i < run->node_cnt; i++) {
        const struct demo_slot *slot = &run->slots[i];
        struct json_out *object = json_out_object();
        json_out_count(object, "node", i + 1);
        json_out_text(object, "role", i == 0 ? "source" : "sink");
        json_out_count(object, "peers_found", slot->peers_found);
        json_out_count(object, "peers_connected", slot->peers_up);
        json_out_count(object, "peers_dialed_by_discovery", slot->peers_dialed);
        json_out_count(object, "gossip_pushed", slot->gossip.pushed);
        json_out_count(object, "gossip_duplicates", slot->gossip.duplicates);
        if (i > 0) {
            json_out_count(object, "files_identical", slot->files_good);
            json_out_count(object, "files_different", slot->files_bad);
            json_out_count(object, "rounds", slot->rounds);
            json_out_count(object, "bytes_compared", slot->bytes_compared);
            json_out_count(object, "bytes_hashed_again", slot->bytes_hashed);
        }
        json_out_count(object, "frames_checked", slot->metrics.frames_received);
        json_out_count(object, "frames_failed", slot->metrics.frames_failed);
        json_out_push(list, object);
    }
    return list;
}

bool demo_run_print_json(const struct demo_run *run)
{
    static struct sums sums;
    sum_up(&sums, run);
    const struct demo_slot *source = &run->slots[0];
    char why[256] = "";
    struct json_out *top = json_out_object();
    json_out_bool(top, "identical", demo_run_is_good(run, why, sizeof(why)));
    json_out_text(top, "fault", why);
    json_out_text(top, "directory", run->directory);
    json_out_text(top, "tcp_congestion", run->congestion != NULL ? run->congestion : "system");
    json_out_count(top, "nodes", run->node_cnt);
    json_out_count(top, "files", source->files_total);
    json_out_count(top, "files_unreadable", source->files_skipped);
    json_out_count(top, "file_bytes", source->bytes_total);
    json_out_real(top, "seconds", elapsed_s(run));
    json_out_real(top, "first_copy_seconds", (double)(sums.copied_ns - run->go_ns) / 1e9);
    json_out_real(top, "bytes_per_s", (double)demo_run_bytes(run, DEMO_BULK - 1) / elapsed_s(run));
    json_out_put(top, "channels", json_channels(run, &sums));
    json_out_put(top, "vote_latency", json_latency(&sums.latency));
    json_out_put(top, "vote_latency_from_due", json_latency(&sums.lateness));
    json_out_count(top, "peers_found_least", sums.found_min);
    json_out_put(top, "gossip", json_gossip(&sums));
    json_out_count(top, "votes_lost", sums.votes_lost);
    json_out_count(top, "states_lost", sums.states_lost);
    json_out_count(top, "frames_checked", sums.frames_checked);
    json_out_count(top, "frames_failed", sums.frames_failed);
    json_out_put(top, "per_node", json_nodes(run));
    return json_out_print(stdout, top, true);
}
