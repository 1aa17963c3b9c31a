/* Serves a node's series over HTTP, on shard 0, through its ring: a few clients at once, one request each, never a
 * blocking call. What a client can make us keep is bounded: the state of its request, and the text that it asked for.
 *
 *   accept          request read        every shard told its peers       text sent          peer's end
 *   -------> READING -----------> ASKING -----------------------> WRITING ---------> LINGER ----------> DRAIN
 *                        `--------- (no peers wanted, an error) ----^                                      | last event
 *                                                                                                          v
 *   A deadline, a reset or a stopping shard leads from each state to DRAIN.                               FREE
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/base/check.h"
#include "engine/base/probe.h"
#include "engine/node/expose.h"
#include "engine/node/http.h"
#include "engine/node/internal.h"

#define CLIENTS_MAX 8u
#define LISTENER_IDX 0x100u
#define ACCEPT_ARG 0x100u
#define CLIENT_NS (10 * WEIR_NS_PER_S) /* from accept to the last byte of the answer */
#define ASK_NS WEIR_NS_PER_S           /* for the other shards; then without them */
#define LINGER_NS \
    WEIR_NS_PER_S /* for the client to close first, so that no reset destroys the answer */
#define RETRY_NS (10 * WEIR_NS_PER_MS) /* what the kernel had no memory for */
#define ACCEPT_RETRY_NS (100 * WEIR_NS_PER_MS)

enum client_state { FREE = 0, READING, ASKING, WRITING, LINGER, DRAIN };

struct client {
    uint8_t state;
    bool has_recv, has_send, want_shutdown;
    uint32_t shutdown_cnt;
    uint32_t gen;
    int sock;
    struct weir_http http;
    struct weir_timer timer;
    uint64_t until_ns;
    struct weir_peer_row *rows;
    uint32_t row_cnt, parts_left;
    struct weir_text body;
    char head[256];
    struct iovec iov[2];
    uint32_t iov_first;
};

struct weir_exporter {
    int sock;
    bool is_accepting, is_cancelled;
    struct weir_timer accept_timer;
    struct client clients[CLIENTS_MAX];
};

static uint64_t token_of(const struct weir_exporter *exporter, const struct client *client)
{
    return ((uint64_t)(client->gen & 0xFFFFFFu) << 32) |
           (WEIR_TOKEN_HTTP + (uint32_t)(client - exporter->clients));
}

/* ---- ending a client ----------------------------------------------------------------------- */

static void settle(struct weir_shard *shard, struct client *client)
{
    if (client->state != DRAIN || client->has_recv || client->has_send || client->shutdown_cnt ||
        client->want_shutdown)
        return;
    weir_wheel_cancel(&shard->wheel, &client->timer);
    shard->io->ops->close(shard->io, client->sock);
    weir_text_free(&client->body);
    weir_heap_release(client->rows);
    client->rows = NULL;
    client->sock = -1;
    client->gen++;
    client->state = FREE;
}

static void shut(struct weir_shard *shard, struct client *client, int how)
{
    uint64_t token = token_of(shard->exporter, client);
    client->want_shutdown = shard->io->ops->shutdown(shard->io, client->sock, how, token) != 0;
    client->shutdown_cnt += !client->want_shutdown;
    if (client->want_shutdown)
        weir_wheel_set(&shard->wheel, &client->timer, shard->hub.now_ns + RETRY_NS);
}

static void drain(struct weir_shard *shard, struct client *client)
{
    if (client->state == FREE || client->state == DRAIN)
        return;
    client->state = DRAIN;
    shut(shard, client, SHUT_RDWR);
}

static void arm_recv(struct weir_shard *shard, struct client *client)
{
    if (shard->io->ops->recv(shard->io, client->sock, token_of(shard->exporter, client)) == 0)
        client->has_recv = true;
    else
        drain(shard, client);
}

/* ---- answering ----------------------------------------------------------------------------- */

static void submit(struct weir_shard *shard, struct client *client)
{
    const struct iovec *iov = client->iov + client->iov_first;
    if (shard->io->ops->send(shard->io, client->sock, iov, 2 - client->iov_first,
                             token_of(shard->exporter, client)) == 0)
        client->has_send = true;
    else
        drain(shard, client);
}

static void write_answer(struct weir_shard *shard, struct client *client, uint16_t status)
{
    struct weir_text *body = &client->body;
    const char *type = "text/plain; charset=utf-8";
    weir_text_init(body, WEIR_EXPOSE_BYTES_MAX);
    if (status == 200) {
        type = WEIR_EXPOSE_TYPE;
        weir_expose_node(body, shard->node);
        weir_expose_peers(body, client->rows, client->row_cnt);
        if (body->is_short) {
            status = 503;
            weir_text_free(body);
            weir_text_init(body, WEIR_EXPOSE_BYTES_MAX);
        }
    }
    if (status != 200) {
        type = "text/plain; charset=utf-8";
        weir_text_put(body, weir_http_reason(status));
        weir_text_put(body, status == 404 ? ": see /metrics\n" : "\n");
    }
    weir_count(status == 200 ? &shard->hub.metrics.scrapes : &shard->hub.metrics.scrapes_refused,
               1);
    int len = snprintf(client->head, sizeof(client->head),
                       "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                       "%sConnection: close\r\n\r\n",
                       status, weir_http_reason(status), type, body->len,
                       status == 405 ? "Allow: GET\r\n" : "");
    client->iov[0] = (struct iovec){.iov_base = client->head, .iov_len = (size_t)len};
    client->iov[1] = (struct iovec){.iov_base = body->data, .iov_len = body->len};
    client->iov_first = 0;
    client->state = WRITING;
    WEIR_PROBE2(scrape, status, body->len);
    weir_wheel_set(&shard->wheel, &client->timer, client->until_ns);
    submit(shard, client);
}

static void add_rows(struct client *client, const struct weir_peer_row *rows, uint32_t row_cnt)
{
    size_t bytes = (size_t)(client->row_cnt + row_cnt) * sizeof(*rows);
    struct weir_peer_row *all = row_cnt ? weir_heap_alloc_raw(NULL, bytes) : NULL;
    if (!all)
        return; /* without them: what a scrape tells is complete or smaller, never wrong */
    if (client->row_cnt)
        memcpy(all, client->rows, client->row_cnt * sizeof(*rows));
    memcpy(all + client->row_cnt, rows, row_cnt * sizeof(*rows));
    weir_heap_release(client->rows);
    client->rows = all;
    client->row_cnt += row_cnt;
}

/* Rows of a shard's peers in a note; NULL when memory is short. */
static struct weir_note *note_of_rows(struct weir_shard *shard)
{
    uint64_t peer_cnt = atomic_load_explicit(&shard->hub.metrics.ready_cnt, memory_order_relaxed);
    uint32_t row_max = shard->node->cfg.metrics_peers;
    if (peer_cnt < row_max)
        row_max = (uint32_t)peer_cnt;
    uint32_t bytes = row_max * (uint32_t)sizeof(struct weir_peer_row);
    struct weir_note *note = weir_note_create(WEIR_LETTER_PEER_TOLD, bytes);
    if (!note)
        return NULL;
    /* Copied in and out: a note's bytes are not as aligned as the rows want to be. */
    struct weir_peer_row *rows = row_max ? weir_heap_alloc_raw(NULL, bytes) : NULL;
    uint32_t row_cnt = rows ? weir_peer_rows(shard, rows, row_max) : 0;
    note->len = row_cnt * (uint32_t)sizeof(*rows);
    if (row_cnt)
        memcpy(note->data, rows, note->len);
    weir_heap_release(rows);
    return note;
}

static void take_rows(struct client *client, const struct weir_note *note)
{
    uint32_t row_cnt = note->len / (uint32_t)sizeof(struct weir_peer_row);
    struct weir_peer_row *rows = row_cnt ? weir_heap_alloc_raw(NULL, note->len) : NULL;
    if (!rows)
        return;
    memcpy(rows, note->data, note->len);
    add_rows(client, rows, row_cnt);
    weir_heap_release(rows);
}

void weir_exporter_ask(struct weir_shard *shard, const struct weir_note *note)
{
    struct weir_note *answer = note_of_rows(shard);
    if (!answer)
        return; /* the asker has a deadline */
    answer->peer = note->peer;
    (void)weir_shard_post(shard->node->shards[0], answer, true);
}

void weir_exporter_told(struct weir_shard *shard, const struct weir_note *note)
{
    struct weir_exporter *exporter = shard->exporter;
    if (!exporter)
        return;
    struct client *client = &exporter->clients[(uint32_t)note->peer.v % CLIENTS_MAX];
    if (client->state != ASKING || token_of(exporter, client) != note->peer.v)
        return;
    take_rows(client, note);
    if (--client->parts_left == 0)
        write_answer(shard, client, 200);
}

/* Asks every shard for its peers. */
static void ask(struct weir_shard *shard, struct client *client)
{
    weir_node *node = shard->node;
    struct weir_note *own = note_of_rows(shard);
    client->state = ASKING;
    client->parts_left = 0;
    if (own) {
        take_rows(client, own);
        weir_note_free(own);
    }
    for (uint32_t i = 0; i < node->shard_cnt; i++) {
        struct weir_shard *other = node->shards[i];
        if (other == shard || !atomic_load_explicit(&other->is_owned, memory_order_acquire))
            continue;
        struct weir_note *note = weir_note_create(WEIR_LETTER_PEER_ROWS, 0);
        if (!note)
            continue;
        note->peer.v = token_of(shard->exporter, client);
        client->parts_left++;
        (void)weir_shard_post(other, note, true);
    }
    if (client->parts_left == 0)
        write_answer(shard, client, 200);
    else
        weir_wheel_set(&shard->wheel, &client->timer,
                       weir_min_u64(client->until_ns, shard->hub.now_ns + ASK_NS));
}

static void answer(struct weir_shard *shard, struct client *client)
{
    uint16_t status = client->http.status;
    if (status == 200 && strcmp(client->http.path, "/metrics") != 0)
        status = 404;
    if (status == 200 && shard->node->cfg.metrics_peers)
        ask(shard, client);
    else
        write_answer(shard, client, status);
}

/* ---- events -------------------------------------------------------------------------------- */

static void on_recv(struct weir_shard *shard, struct client *client,
                    const struct weir_io_event *event)
{
    if (!(event->flags & WEIR_IO_MORE))
        client->has_recv = false;
    if (event->res > 0 && client->state == READING)
        (void)weir_http_feed(&client->http, event->data, (size_t)event->res);
    if (event->flags & WEIR_IO_BUF)
        shard->io->ops->recv_done(shard->io, event->buf_idx);
    if (client->state == READING && client->http.status)
        answer(shard, client);
    if ((event->flags & WEIR_IO_MORE) || client->state == DRAIN)
        return;
    if (event->res > 0 || event->res == -ENOBUFS || event->res == -EAGAIN || event->res == -EINTR)
        arm_recv(shard, client);
    else if (event->res < 0 || client->state == READING || client->state == LINGER)
        drain(shard, client); /* at its end while we answer, it may still be listening */
}

static void on_send(struct weir_shard *shard, struct client *client, int32_t res)
{
    client->has_send = false;
    if (client->state != WRITING)
        return;
    if (res < 0 && res != -EAGAIN && res != -EINTR) {
        drain(shard, client);
        return;
    }
    size_t taken = res > 0 ? (size_t)res : 0;
    while (client->iov_first < 2 && taken >= client->iov[client->iov_first].iov_len)
        taken -= client->iov[client->iov_first++].iov_len;
    if (client->iov_first < 2) {
        struct iovec *iov = &client->iov[client->iov_first];
        iov->iov_base = (char *)iov->iov_base + taken;
        iov->iov_len -= taken;
        submit(shard, client);
        return;
    }
    if (!client->has_recv) { /* it has ended its side */
        drain(shard, client);
        return;
    }
    client->state = LINGER;
    weir_wheel_set(&shard->wheel, &client->timer, shard->hub.now_ns + LINGER_NS);
    shut(shard, client, SHUT_WR);
}

static void arm_accept(struct weir_shard *shard)
{
    struct weir_exporter *exporter = shard->exporter;
    if (exporter->is_accepting || shard->is_stopping)
        return;
    int error = shard->io->ops->accept(shard->io, exporter->sock, WEIR_TOKEN_HTTP + LISTENER_IDX);
    exporter->is_accepting = error == 0;
    if (error)
        weir_wheel_set(&shard->wheel, &exporter->accept_timer, shard->hub.now_ns + ACCEPT_RETRY_NS);
}

static void begin(struct weir_shard *shard, int sock)
{
    struct weir_exporter *exporter = shard->exporter;
    struct client *client = NULL;
    for (uint32_t i = 0; i < CLIENTS_MAX && !client; i++) {
        if (exporter->clients[i].state == FREE)
            client = &exporter->clients[i];
    }
    if (!client || shard->is_stopping) {
        shard->io->ops->close(shard->io, sock);
        weir_count(&shard->hub.metrics.scrapes_refused, 1);
        return;
    }
    client->state = READING;
    client->sock = sock;
    client->http = (struct weir_http){0};
    client->row_cnt = client->parts_left = 0;
    client->until_ns = shard->hub.now_ns + CLIENT_NS;
    client->timer.kind = WEIR_TIMER_HTTP;
    client->timer.arg = (uint32_t)(client - exporter->clients);
    weir_wheel_set(&shard->wheel, &client->timer, client->until_ns);
    arm_recv(shard, client);
    settle(shard, client);
}

static void on_accept(struct weir_shard *shard, const struct weir_io_event *event)
{
    struct weir_exporter *exporter = shard->exporter;
    exporter->is_accepting = false;
    if (event->res >= 0) {
        begin(shard, event->res);
        arm_accept(shard);
    } else if (!shard->is_stopping) {
        weir_wheel_set(&shard->wheel, &exporter->accept_timer, shard->hub.now_ns + ACCEPT_RETRY_NS);
    }
}

void weir_exporter_event(struct weir_shard *shard, const struct weir_io_event *event)
{
    struct weir_exporter *exporter = shard->exporter;
    uint32_t idx = (uint32_t)event->token - WEIR_TOKEN_HTTP;
    if (idx == LISTENER_IDX) {
        on_accept(shard, event);
        return;
    }
    struct client *client = &exporter->clients[idx % CLIENTS_MAX];
    if (client->state == FREE || token_of(exporter, client) != event->token) {
        if (event->flags & WEIR_IO_BUF)
            shard->io->ops->recv_done(shard->io, event->buf_idx);
        return;
    }
    switch ((enum weir_io_kind)event->kind) {
    case WEIR_IO_RECV:
        on_recv(shard, client, event);
        break;
    case WEIR_IO_SEND:
        on_send(shard, client, event->res);
        break;
    case WEIR_IO_SHUTDOWN:
        client->shutdown_cnt--;
        break;
    case WEIR_IO_ACCEPT:
    case WEIR_IO_CONNECT:
        break;
    }
    settle(shard, client);
}

void weir_exporter_fire(struct weir_shard *shard, uint32_t timer_arg)
{
    struct weir_exporter *exporter = shard->exporter;
    if (timer_arg == ACCEPT_ARG) {
        arm_accept(shard);
        return;
    }
    struct client *client = &exporter->clients[timer_arg];
    if (client->state == ASKING && shard->hub.now_ns < client->until_ns)
        write_answer(shard, client, 200); /* without the shards that did not tell in time */
    else if (client->state == DRAIN && client->want_shutdown)
        shut(shard, client, SHUT_RDWR);
    else
        drain(shard, client);
    settle(shard, client);
}

/* ---- life ---------------------------------------------------------------------------------- */

int weir_metrics_listen(weir_node *node, const char *address)
{
    if (!node || !address)
        return WEIR_E_MISUSE;
    if (atomic_load(&node->state) != WEIR_NODE_NEW)
        return WEIR_E_STATE;
    struct weir_addr addr;
    int error = weir_addr_parse(&addr, address);
    if (error)
        return error;
    pthread_mutex_lock(&node->mutex);
    error = weir_node_prepare(node);
    pthread_mutex_unlock(&node->mutex);
    if (error)
        return error;
    struct weir_shard *shard = node->shards[0];
    if (shard->exporter)
        return WEIR_E_LIMIT;
    struct weir_exporter *exporter = weir_heap_alloc(NULL, sizeof(*exporter));
    struct weir_addr real;
    if (!exporter)
        return WEIR_E_NOMEM;
    exporter->sock = shard->io->ops->listen(shard->io, &addr, false, &real);
    if (exporter->sock < 0) {
        error = exporter->sock;
        weir_heap_release(exporter);
        weir_log(node, WEIR_LOG_ERROR, "metrics at %s: %s", address, weir_error_text(error));
        return error;
    }
    exporter->accept_timer.kind = WEIR_TIMER_HTTP;
    exporter->accept_timer.arg = ACCEPT_ARG;
    shard->exporter = exporter;
    node->metrics_addr = real;
    return 0;
}

int weir_metrics_address(weir_node *node, char *ret_address, size_t ret_len)
{
    if (!node || !ret_address || node->metrics_addr.family == WEIR_ADDR_NONE)
        return WEIR_E_MISUSE;
    char text[WEIR_ADDR_TEXT_BYTES];
    weir_addr_format(&node->metrics_addr, text);
    if (strlen(text) >= ret_len)
        return WEIR_E_TOO_BIG;
    memcpy(ret_address, text, strlen(text) + 1);
    return 0;
}

void weir_exporter_start(struct weir_shard *shard)
{
    if (shard->exporter)
        arm_accept(shard);
}

bool weir_exporter_stop(struct weir_shard *shard)
{
    struct weir_exporter *exporter = shard->exporter;
    if (!exporter)
        return true;
    weir_wheel_cancel(&shard->wheel, &exporter->accept_timer);
    if (exporter->is_accepting && !exporter->is_cancelled)
        exporter->is_cancelled =
            shard->io->ops->cancel(shard->io, WEIR_TOKEN_HTTP + LISTENER_IDX) == 0;
    bool is_idle = !exporter->is_accepting;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &exporter->clients[i];
        if (client->state == DRAIN && client->want_shutdown)
            shut(shard, client, SHUT_RDWR);
        drain(shard, client);
        settle(shard, client);
        is_idle &= client->state == FREE;
    }
    return is_idle;
}

void weir_exporter_free(struct weir_shard *shard)
{
    struct weir_exporter *exporter = shard->exporter;
    if (!exporter)
        return;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &exporter->clients[i];
        if (client->state == FREE)
            continue;
        shard->io->ops->close(shard->io, client->sock);
        weir_text_free(&client->body);
        weir_heap_release(client->rows);
    }
    shard->io->ops->close(shard->io, exporter->sock);
    weir_heap_release(exporter);
    shard->exporter = NULL;
}
