/* Requests over real sockets: two shards each side, askers on threads of their own. */
#include <poll.h>

#include "tests/integration/harness.h"

IT_SUITE(request);

#define THREADS 4u
#define ASKS 400u
#define LINKS 4u

static struct it_node a, b; /* a asks, b answers */
static weir_requests *asking, *answering;
static weir_peer peers[LINKS];

/* The question is a length; the answer so many bytes that follow from it. Odd ones come from another thread. */
struct job {
    weir_reply reply;
    uint32_t len;
    struct job *next;
};
static pthread_mutex_t job_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t job_cond = PTHREAD_COND_INITIALIZER;
static struct job *jobs;
static bool is_ending;

static void answer(weir_reply reply, uint32_t len)
{
    uint8_t *bytes = malloc(len + 8);
    it_fill(bytes, len, len);
    int error = len % 10 == 7 ? weir_reply_error(answering, reply, 1000 + len % 100, "seven")
                              : weir_reply_send(answering, reply, bytes, len);
    if (error && error != WEIR_E_GONE)
        it_fault(&b, "reply: %s", weir_error_name(error));
    free(bytes);
}

static void on_question(void *ctx, const struct weir_request *request)
{
    uint32_t len;
    (void)ctx;
    memcpy(&len, request->data, sizeof(len));
    if (len % 2 == 0) {
        answer(request->reply, len);
        return;
    }
    struct job *job = malloc(sizeof(*job));
    *job = (struct job){.reply = request->reply, .len = len};
    pthread_mutex_lock(&job_mutex);
    job->next = jobs;
    jobs = job;
    pthread_cond_signal(&job_cond);
    pthread_mutex_unlock(&job_mutex);
}

static void *work(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&job_mutex);
        while (!jobs && !is_ending)
            pthread_cond_wait(&job_cond, &job_mutex);
        struct job *job = jobs;
        if (job)
            jobs = job->next;
        pthread_mutex_unlock(&job_mutex);
        if (!job)
            return NULL;
        answer(job->reply, job->len);
        free(job);
    }
}

static void begin(void)
{
    struct weir_request_config cfg = {.size = sizeof(cfg), .out_max = 200, .in_max = 200};
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.shard_cnt = b.cfg.shard_cnt = 2;
    it_create(&a, NULL);
    it_create(&b, "127.0.0.1:0");
    IT_OK(weir_requests_create(&asking, a.node, &cfg));
    cfg.on_question = on_question;
    IT_OK(weir_requests_create(&answering, b.node, &cfg));
    IT_OK(weir_node_start(a.node));
    IT_OK(weir_node_start(b.node));
    for (uint32_t i = 0; i < LINKS; i++)
        peers[i] = it_link(&a, &b);
}

static void end(void)
{
    it_stop(&a);
    IT_WAIT(b.downs == LINKS);
    it_wait_empty(&b);
    it_stop(&b);
    weir_requests_free(asking);
    weir_requests_free(answering);
}

static struct weir_request_stats stats_of(weir_requests *requests)
{
    struct weir_request_stats stats = {.size = sizeof(stats)};
    IT_OK(weir_requests_stats(requests, &stats));
    return stats;
}

static uint32_t len_of(uint64_t tag)
{
    return (uint32_t)(tag * 7919 % (tag % 16 ? 3000 : 500000));
}

static void *ask_many(void *arg)
{
    uint64_t first = (uint64_t)(uintptr_t)arg * ASKS;
    static uint64_t got[THREADS * ASKS]; /* bytes of each answer */
    static uint8_t bytes[THREADS][500000];
    uint8_t *mine = bytes[(uintptr_t)arg];
    weir_inbox *inbox;
    if (weir_inbox_create(&inbox) != 0)
        return NULL;
    struct pollfd poll_fd = {.fd = weir_inbox_fd(inbox), .events = POLLIN};
    uint32_t asked = 0, ended = 0;
    while (ended < ASKS && atomic_load(&a.faults) == 0) {
        while (asked < ASKS && asked - ended < 20) {
            uint64_t tag = first + asked++;
            uint32_t len = len_of(tag);
            struct weir_ask ask = {.size = sizeof(ask),
                                   .peer = peers[tag % LINKS],
                                   .data = &len,
                                   .len = sizeof(len),
                                   .timeout_ns = IT_PATIENCE,
                                   .tag = tag,
                                   .inbox = inbox};
            int error = weir_ask(asking, &ask, NULL);
            if (error)
                it_fault(&a, "ask: %s", weir_error_name(error));
        }
        if (asked % 2 && poll(&poll_fd, 1, 60000) != 1)
            it_fault(&a, "the inbox's descriptor is never readable");
        const struct weir_answer *answer = weir_inbox_take(inbox, IT_PATIENCE);
        if (!answer) {
            it_fault(&a, "no answer came");
            break;
        }
        uint32_t want = len_of(answer->tag);
        if (answer->kind == WEIR_ANSWER_ERROR) {
            if (want % 10 != 7 || answer->code != (int)(1000 + want % 100) || answer->len != 5)
                it_fault(&a, "error %d for %u", answer->code, want);
        } else if (answer->kind == WEIR_ANSWER_PART) {
            it_fill(mine, want, want);
            if (answer->offset != got[answer->tag] || answer->offset + answer->len > want ||
                memcmp(mine + answer->offset, answer->data, answer->len) != 0)
                it_fault(&a, "answer of %u is damaged", want);
            got[answer->tag] += answer->len;
            if (answer->is_final && got[answer->tag] != want)
                it_fault(&a, "%lu bytes of %u", got[answer->tag], want);
        } else {
            it_fault(&a, "kind %u, code %d", answer->kind, answer->code);
        }
        ended += answer->is_final;
        weir_inbox_release(inbox, answer);
    }
    weir_inbox_free(inbox);
    return NULL;
}

IT_TEST(request, threads_get_answers_in_their_own_queues)
{
    pthread_t askers[THREADS], worker;
    begin();
    pthread_create(&worker, NULL, work, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&askers[i], NULL, ask_many, (void *)i);
    for (uint32_t i = 0; i < THREADS; i++)
        pthread_join(askers[i], NULL);
    it_check_faults(&a);
    it_check_faults(&b);
    IT_EQ(stats_of(asking).asked, THREADS * ASKS);
    /* The last answer may be taken before the shard has counted it. */
    IT_WAIT(stats_of(asking).answered + stats_of(asking).errors == THREADS * ASKS);
    IT_EQ(stats_of(asking).asking, 0);
    IT_WAIT(stats_of(answering).answering == 0);
    IT_EQ(stats_of(answering).replied, stats_of(asking).answered);
    pthread_mutex_lock(&job_mutex);
    is_ending = true;
    pthread_cond_broadcast(&job_cond);
    pthread_mutex_unlock(&job_mutex);
    pthread_join(worker, NULL);
    end();
}

IT_TEST(request, a_node_that_stops_answers_what_nobody_else_does)
{
    weir_inbox *inbox;
    IT_OK(weir_inbox_create(&inbox));
    begin();
    weir_ticket cancelled = {.serial = 0};
    for (uint64_t tag = 0; tag < 10; tag++) {
        uint32_t odd = 1; /* given to a thread that is not there */
        struct weir_ask ask = {.size = sizeof(ask),
                               .peer = peers[tag % LINKS],
                               .data = &odd,
                               .len = sizeof(odd),
                               .timeout_ns = WEIR_NS_FOREVER,
                               .tag = tag,
                               .inbox = inbox};
        IT_OK(weir_ask(asking, &ask, tag == 3 ? &cancelled : NULL));
    }
    IT_WAIT(stats_of(answering).answering == 10);
    IT_OK(weir_ask_cancel(asking, cancelled));
    const struct weir_answer *answer = weir_inbox_take(inbox, IT_PATIENCE);
    cr_assert(answer && answer->kind == WEIR_ANSWER_CANCELLED && answer->tag == 3);
    weir_inbox_release(inbox, answer);
    IT_WAIT(stats_of(answering).over == 1);
    end();
    uint32_t gone = 0;
    while ((answer = weir_inbox_take(inbox, 0)) != NULL) {
        gone += answer->kind == WEIR_ANSWER_GONE && answer->is_final;
        weir_inbox_release(inbox, answer);
    }
    IT_EQ(gone, 9);
    weir_inbox_free(inbox);
    while (jobs) {
        struct job *job = jobs;
        jobs = job->next;
        free(job);
    }
}

/* ---- weir/reactor.h ------------------------------------------------------------------------ */

static _Atomic uint32_t runs, drops, wrong_threads;
static uint32_t place;
static _Atomic uint64_t read_back;

static void posted(void *ctx, uint32_t shard, int is_run)
{
    (void)ctx;
    atomic_fetch_add(is_run ? &runs : &drops, 1);
    weir_peer peer = peers[0];
    if (!is_run || weir_peer_shard(peer) != shard)
        return;
    atomic_fetch_add(&wrong_threads, weir_peer_set(a.node, peer, place, &runs) != 0);
    atomic_store(&read_back, weir_peer_get(a.node, peer, place) == &runs);
    atomic_fetch_add(&wrong_threads, weir_tick_set(a.node, &runs, 0) != WEIR_E_MISUSE);
}

IT_TEST(request, calls_are_posted_to_shards_and_peers_have_places)
{
    it_init(&a, "a");
    it_init(&b, "b");
    a.cfg.shard_cnt = 2;
    it_create(&a, NULL);
    IT_IS(weir_post(a.node, 0, posted, NULL), WEIR_E_STATE);
    IT_OK(weir_peer_place(a.node, &place));
    IT_OK(weir_node_start(a.node));
    IT_IS(weir_peer_place(a.node, &place), WEIR_E_STATE);
    it_start(&b, "127.0.0.1:0");
    peers[0] = it_link(&a, &b);
    IT_EQ(weir_node_shards(a.node), 2);
    for (uint32_t i = 0; i < 1000; i++)
        IT_OK(weir_post(a.node, i % 2, posted, NULL));
    IT_WAIT(runs == 1000);
    IT_EQ(read_back, 1);
    IT_EQ(wrong_threads, 0);
    IT_IS(weir_post(a.node, 2, posted, NULL), WEIR_E_MISUSE);
    IT_IS(weir_peer_set(a.node, peers[0], place, NULL), WEIR_E_MISUSE);
    cr_assert(weir_peer_get(a.node, peers[0], place) == NULL);
    uint8_t bytes[64] = {0}, none[64] = {0};
    IT_OK(weir_node_random(a.node, bytes, sizeof(bytes)));
    cr_assert(memcmp(bytes, none, sizeof(bytes)) != 0);
    it_stop(&b);
    IT_OK(weir_node_stop(a.node, 0));
    IT_IS(weir_post(a.node, 0, posted, NULL), WEIR_E_STATE);
    it_free(&a);
    IT_EQ(runs + drops, 1000);
}
