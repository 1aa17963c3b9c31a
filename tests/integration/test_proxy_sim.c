/* A simulated network of 55 nodes, of which 15 dial through a SOCKS5 proxy and nothing else: the proxy is the test, which
 * takes names and addresses and moves the bytes. */
#include <errno.h>

#include "engine/node/internal.h"
#include "engine/prove/world.h"
#include "tests/integration/mesh.h"

#define S WEIR_NS_PER_S
#define MS WEIR_NS_PER_MS
#define NODES 55u
#define PROXIED 15u /* the last ones */
#define PROXY "50.0.0.1:9050"
#define EXIT "60.0.0.1" /* where the proxy's connections come from */
#define SEED_NAME "seeds.example.org"
#define SEED 2u
#define TUNNELS_MAX 4096u
#define PIPE_BYTES 65536u
#define CREDENTIALS_BYTES 520u

/* A byte stream one way: read from one socket, not yet written to the other. */
struct pipe {
    uint32_t at, len;
    uint8_t bytes[PIPE_BYTES];
};

struct tunnel {
    int near, far; /* sockets; -1: none (any more) */
    bool is_open;  /* the proxy has said yes */
    uint32_t asked_len;
    uint8_t asked[1024]; /* what the client has said so far */
    char credentials[CREDENTIALS_BYTES];
    struct pipe *in, *out;
};

static struct {
    int listener;
    struct tunnel *tunnels;
    uint32_t cnt, name_cnt, address_cnt, refused_cnt;
    uint32_t lookup_cnt; /* of proxied nodes: they are to look nothing up */
} proxy;

/* ---- the proxy: RFC 1928 and 1929 ----------------------------------------------------------- */

static void say(const struct tunnel *tunnel, const void *bytes, size_t len)
{
    cr_assert_eq(weir_sim_raw_write(mesh.world->sim, tunnel->near, bytes, len), (int64_t)len);
}

static void hang_up(struct tunnel *tunnel)
{
    if (tunnel->near >= 0)
        weir_sim_raw_close(mesh.world->sim, tunnel->near);
    if (tunnel->far >= 0)
        weir_sim_raw_close(mesh.world->sim, tunnel->far);
    tunnel->near = tunnel->far = -1;
    free(tunnel->in);
    free(tunnel->out);
    tunnel->in = tunnel->out = NULL;
}

static void connect_to(struct tunnel *tunnel, const struct weir_addr *addr)
{
    static uint16_t port = 1024;
    static const uint8_t yes[10] = {5, 0, 0, 1}, refused[10] = {5, 5, 0, 1};
    struct weir_addr from;
    char text[64];
    snprintf(text, sizeof(text), EXIT ":%u", ++port);
    cr_assert_eq(weir_addr_parse(&from, text), 0);
    tunnel->far = weir_sim_raw_dial(mesh.world->sim, addr, &from);
    if (tunnel->far < 0) {
        proxy.refused_cnt++;
        say(tunnel, refused, sizeof(refused));
        hang_up(tunnel);
        return;
    }
    tunnel->in = calloc(1, sizeof(*tunnel->in));
    tunnel->out = calloc(1, sizeof(*tunnel->out));
    tunnel->is_open = true;
    say(tunnel, yes, sizeof(yes));
}

/* Reads what a client has said from its beginning, each time that there is more: a greeting, credentials, a request. The
 * answers that were given already are not given again (`had`: bytes that there were before). */
static void negotiate(struct tunnel *tunnel, uint32_t had)
{
    const uint8_t *p = tunnel->asked;
    uint32_t len = tunnel->asked_len, greeting, auth, request;
    if (len < 2 || len < (greeting = 2u + p[1]))
        return;
    cr_assert(p[0] == 5 && memchr(p + 2, 2, p[1]) != NULL, "it offers no credentials");
    if (had < greeting)
        say(tunnel, "\5\2", 2);
    if (len < greeting + 2 || len < (auth = greeting + 3u + p[greeting + 1]) ||
        len < (auth += p[auth - 1]))
        return;
    if (had < auth) {
        uint32_t user = p[greeting + 1], password = p[greeting + 2 + user];
        cr_assert(p[greeting] == 1 && user > 0 && password > 0);
        snprintf(tunnel->credentials, sizeof(tunnel->credentials), "%.*s %.*s", (int)user,
                 (const char *)p + greeting + 2, (int)password,
                 (const char *)p + greeting + 3 + user);
        say(tunnel, "\1\0", 2);
    }
    if (len < auth + 5)
        return;
    p += auth;
    cr_assert(p[0] == 5 && p[1] == 1 && p[2] == 0 && (p[3] == 1 || p[3] == 3));
    request = p[3] == 1 ? 10 : 7u + p[4];
    if (len < auth + request)
        return;
    cr_assert_eq(len, auth + request, "it speaks before it was answered");
    struct weir_addr addr = {.family = WEIR_ADDR_IPV4,
                             .port = (uint16_t)(p[request - 2] << 8 | p[request - 1])};
    if (p[3] == 1) {
        memcpy(addr.ip, p + 4, 4);
        proxy.address_cnt++;
    } else {
        char text[64];
        cr_assert(p[4] == strlen(SEED_NAME) && memcmp(p + 5, SEED_NAME, p[4]) == 0 &&
                  addr.port == MESH_PORT);
        mesh_address(SEED, text);
        cr_assert_eq(weir_addr_parse(&addr, text), 0);
        proxy.name_cnt++;
    }
    connect_to(tunnel, &addr);
}

/* False: the stream has ended, and all of it was handed on. */
static bool pump(int from, int to, struct pipe *pipe)
{
    struct weir_sim *sim = mesh.world->sim;
    for (;;) {
        while (pipe->at < pipe->len) {
            int64_t put = weir_sim_raw_write(sim, to, pipe->bytes + pipe->at, pipe->len - pipe->at);
            if (put <= 0)
                return put == 0; /* its window is full; or it is gone */
            pipe->at += (uint32_t)put;
        }
        pipe->at = pipe->len = 0;
        int64_t got = weir_sim_raw_read(sim, from, pipe->bytes, PIPE_BYTES);
        if (got <= 0)
            return got == -EAGAIN;
        pipe->len = (uint32_t)got;
    }
}

static void serve(struct tunnel *tunnel)
{
    if (tunnel->near < 0)
        return;
    if (tunnel->is_open) {
        bool is_in = pump(tunnel->near, tunnel->far, tunnel->in);
        if (!pump(tunnel->far, tunnel->near, tunnel->out) || !is_in)
            hang_up(tunnel);
        return;
    }
    uint32_t had = tunnel->asked_len;
    int64_t got = weir_sim_raw_read(mesh.world->sim, tunnel->near, tunnel->asked + had,
                                    sizeof(tunnel->asked) - had);
    if (got == -EAGAIN)
        return;
    if (got <= 0) {
        hang_up(tunnel);
        return;
    }
    tunnel->asked_len += (uint32_t)got;
    negotiate(tunnel, had);
}

static void run(uint64_t duration_ns)
{
    for (uint64_t until_ns = weir_world_now(mesh.world) + duration_ns;
         weir_world_now(mesh.world) < until_ns;) {
        int sock;
        weir_world_run(mesh.world, 5 * MS);
        while ((sock = weir_sim_raw_accept(mesh.world->sim, proxy.listener)) >= 0) {
            cr_assert_lt(proxy.cnt, TUNNELS_MAX);
            proxy.tunnels[proxy.cnt] = (struct tunnel){.near = sock, .far = -1};
            proxy.cnt++;
        }
        for (uint32_t i = 0; i < proxy.cnt; i++)
            serve(&proxy.tunnels[i]);
    }
}

/* ---- the network ----------------------------------------------------------------------------- */

static uint16_t dns(void *ctx, const char *name, uint16_t port, struct weir_addr *ret_addrs,
                    uint32_t addr_max, uint32_t *ret_addr_cnt)
{
    char text[64];
    (void)addr_max;
    if (ctx)
        proxy.lookup_cnt++;
    if (strcmp(name, SEED_NAME) != 0 || port != MESH_PORT)
        return WEIR_R_NAME_NOT_FOUND;
    mesh_address(SEED, text);
    cr_assert_eq(weir_addr_parse(&ret_addrs[0], text), 0);
    *ret_addr_cnt = 1;
    return 0;
}

static void prepare(struct mesh_node *own)
{
    own->node->lookup = dns;
    own->node->lookup_ctx = own->idx >= NODES - PROXIED ? own : NULL;
}

static void grow(uint64_t seed)
{
    struct weir_addr at;
    char address[64];
    mesh_begin(seed, 128);
    cr_assert_eq(weir_addr_parse(&at, PROXY), 0);
    proxy.listener = weir_sim_raw_listen(mesh.world->sim, &at, NULL);
    proxy.tunnels = calloc(TUNNELS_MAX, sizeof(*proxy.tunnels));
    cr_assert(proxy.listener >= 0 && proxy.tunnels != NULL);
    mesh.prepare = prepare;
    mesh.disco.seeds = SEED_NAME ":7000";
    for (uint32_t i = 0; i < NODES; i++) {
        if (i == NODES - PROXIED) { /* from here on */
            mesh.cfg.proxy = PROXY;
            mesh.disco.flags = WEIR_DISCOVERY_PRIVATE; /* nobody can reach it */
        }
        mesh_address(i, address);
        (void)mesh_add(address);
    }
}

static uint32_t hidden_cnt(void)
{
    uint32_t cnt = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        for (uint32_t k = NODES - PROXIED; k < NODES; k++) {
            char address[64];
            weir_peer found[4];
            snprintf(address, sizeof(address), "%s", mesh.nodes[k].address);
            *strrchr(address, ':') = '\0'; /* from whichever port */
            int64_t here = weir_peer_find(mesh.nodes[i].node, address, found, 4);
            cr_assert_geq(here, 0);
            cnt += (uint32_t)here;
        }
    }
    return cnt;
}

Test(proxy_sim, who_dials_through_a_proxy_is_a_peer_like_any_other, .timeout = 900)
{
    grow(71);
    uint32_t alive = 0, size = 0;
    for (uint32_t second = 0; second < 120 && (size < NODES || mesh_full() < NODES); second++) {
        run(S);
        size = mesh_component(&alive);
    }
    cr_assert(size == NODES && mesh_full() == NODES, "%u of %u in one component, %u are full", size,
              NODES, mesh_full());
    /* All that they dialed went through the proxy, names too; the others see its address and no other. */
    uint32_t open_cnt = 0, dialed_cnt = 0;
    for (uint32_t i = 0; i < proxy.cnt; i++)
        open_cnt += proxy.tunnels[i].is_open && proxy.tunnels[i].near >= 0;
    for (uint32_t i = NODES - PROXIED; i < NODES; i++)
        dialed_cnt += mesh.nodes[i].dialed_cnt;
    cr_assert_eq(open_cnt, dialed_cnt);
    cr_assert_geq(dialed_cnt, 8 * PROXIED);
    cr_assert_geq(proxy.name_cnt, PROXIED, "each knew a name and nothing else");
    cr_assert_gt(proxy.address_cnt, 0);
    cr_assert_eq(proxy.lookup_cnt, 0, "a name was looked up that the proxy was to look up");
    cr_assert_eq(hidden_cnt(), 0);
    weir_peer found[NODES];
    int64_t inbound = 0;
    for (uint32_t i = 0; i < NODES; i++)
        inbound += weir_peer_find(mesh.nodes[i].node, EXIT, found, NODES);
    cr_assert_eq(inbound, open_cnt);
    /* And no two connections can be linked by what they told the proxy. */
    for (uint32_t i = 0; i < proxy.cnt; i++)
        for (uint32_t k = 0; k < i; k++)
            cr_assert_str_neq(proxy.tunnels[i].credentials, proxy.tunnels[k].credentials);

    /* The proxy hangs up on everybody, once: they come again. */
    for (uint32_t i = 0; i < proxy.cnt; i++)
        hang_up(&proxy.tunnels[i]);
    run(100 * MS);
    cr_assert_leq(mesh_full(), NODES - PROXIED);
    for (uint32_t second = 0; second < 120 && mesh_full() < NODES; second++)
        run(S);
    cr_assert_eq(mesh_full(), NODES);
    cr_assert_eq(proxy.lookup_cnt, 0);
    for (uint32_t i = 0; i < proxy.cnt; i++)
        hang_up(&proxy.tunnels[i]);
    weir_sim_raw_close(mesh.world->sim, proxy.listener);
    mesh_end();
    free(proxy.tunnels);
}
