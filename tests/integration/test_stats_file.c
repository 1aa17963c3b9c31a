/* The metrics in a file, as weir/stats.h has it. */
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/integration/scrape.h"

IT_SUITE(stats_file);

static char stats_path[64];

/* Reads the file as weir/stats.h says; the number of its records. */
static uint32_t read_stats(struct weir_stats_head *ret_head, struct weir_stats_record *ret_records,
                           uint32_t max)
{
    int fd = open(stats_path, O_RDONLY);
    cr_assert(fd >= 0);
    uint64_t seq = 1;
    uint32_t cnt = 0;
    weir_ns until = weir_now() + IT_PATIENCE;
    for (bool is_whole = false; !is_whole;) {
        cr_assert(weir_now() < until);
        cr_assert(pread(fd, ret_head, sizeof(*ret_head), 0) == sizeof(*ret_head));
        cr_assert(memcmp(ret_head->magic, WEIR_STATS_MAGIC, 8) == 0 && ret_head->version == 1);
        cr_assert_eq(ret_head->record_bytes, sizeof(*ret_records));
        cnt = ret_head->record_cnt < max ? ret_head->record_cnt : max;
        ssize_t bytes = (ssize_t)(cnt * sizeof(*ret_records));
        cr_assert(pread(fd, ret_records, (size_t)bytes, ret_head->head_bytes) == bytes);
        cr_assert(pread(fd, &seq, 8, offsetof(struct weir_stats_head, seq)) == 8);
        is_whole = seq == ret_head->seq && seq % 2 == 0;
    }
    close(fd);
    return cnt;
}

static uint64_t stat_of(const char *name, const char *labels)
{
    static struct weir_stats_record records[1024];
    struct weir_stats_head head;
    uint32_t cnt = read_stats(&head, records, 1024);
    for (uint32_t i = 0; i < cnt; i++) {
        if (strcmp(records[i].name, name) == 0 && strcmp(records[i].labels, labels) == 0)
            return records[i].value;
    }
    cr_assert(false, "no %s{%s}", name, labels);
    return 0;
}

IT_TEST(stats_file, the_file_has_what_the_text_has)
{
    init();
    snprintf(stats_path, sizeof(stats_path), "/tmp/weir-stats-%d", getpid());
    a.cfg.stats_path = stats_path;
    a.cfg.stats_interval_ns = 10 * IT_MS;
    a.cfg.shard_cnt = 2;
    it_start(&b, "127.0.0.1:0");
    it_start(&a, NULL);
    weir_peer peer = it_link(&a, &b);
    IT_OK(weir_send(a.node, peer, 1, "12345", 5, IT_PATIENCE));
    IT_WAIT(stat_of("weir_channel_sent_bytes_total", "channel=\"1\",name=\"\"") == 5);
    IT_WAIT(stat_of("weir_peers", "shard=\"0\"") + stat_of("weir_peers", "shard=\"1\"") == 1);
    /* As many records as the text has samples, under the same names. */
    static struct weir_stats_record records[1024];
    struct weir_stats_head head;
    uint32_t cnt = read_stats(&head, records, 1024), line_cnt = 0;
    IT_EQ(head.pid, getpid());
    int64_t len = weir_metrics_text(a.node, NULL, 0) + 4096;
    char *text = malloc((size_t)len);
    cr_assert_gt(weir_metrics_text(a.node, text, (size_t)len), 0);
    line_cnt = lines(text, "weir_", NULL);
    IT_EQ(cnt, line_cnt);
    for (uint32_t i = 0; i < cnt; i++) {
        char start[300];
        snprintf(start, sizeof(start), records[i].labels[0] ? "%s{%s} " : "%s%s ", records[i].name,
                 records[i].labels);
        cr_assert_eq(lines(text, start, NULL), 1, "%s", start);
    }
    free(text);
    /* A file that was cut heals. */
    cr_assert(truncate(stats_path, 100) == 0);
    struct stat stat_after = {0};
    IT_WAIT(stat(stats_path, &stat_after) == 0 &&
            stat_after.st_size == (off_t)(sizeof(head) + cnt * sizeof(records[0])));
    cr_assert_eq(stat_after.st_mode & 0777, 0600);
    it_stop(&a);
    it_stop(&b);
    read_stats(&head, records, 1024);
    cr_assert(head.flags & WEIR_STATS_OVER);
    unlink(stats_path);
}

IT_TEST(stats_file, the_file_has_its_errors)
{
    init();
    it_create(&a, NULL);
    snprintf(stats_path, sizeof(stats_path), "/tmp/weir-stats-%d", getpid());
    b.cfg.stats_path = "/nowhere/at/all";
    it_create(&b, NULL);
    IT_IS(weir_node_start(b.node), WEIR_E_ACCESS);
    it_free(&b);
    it_init(&b, "b");
    b.cfg.stats_path = "";
    IT_IS(weir_node_create(&b.node, &b.cfg), WEIR_E_CONFIG);
    b.cfg.stats_path = stats_path;
    b.cfg.stats_mode = 0666;
    IT_IS(weir_node_create(&b.node, &b.cfg), WEIR_E_CONFIG);
    b.cfg.stats_mode = 0640;
    it_start(&b, NULL);
    struct stat about;
    cr_assert(stat(stats_path, &about) == 0 && (about.st_mode & 0777) == 0640);
    it_free(&a);
    it_init(&a, "a"); /* two nodes want the same file: the second is told */
    a.cfg.stats_path = stats_path;
    it_create(&a, NULL);
    IT_IS(weir_node_start(a.node), WEIR_E_IN_USE);
    it_stop(&b);
    IT_OK(weir_node_start(a.node)); /* the first has stopped: its file is taken over */
    it_stop(&a);
    unlink(stats_path);
}
