/* fetch.c: files by name from another machine, with weir/request.h.
 *
 *     fetch serve 127.0.0.1:7000 DIR
 *     fetch get 127.0.0.1:7000 NAME... >FILE
 *
 * The server streams: it reads on only when the asker has taken what it has, so that a file of any size costs it
 * one buffer. The client's answers come to a queue that its own thread reads. For a word on reading files in a
 * callback: a disk that is slow holds up the shard; a server of many would read on threads of its own.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

#define FILES 64
#define NOT_FOUND (WEIR_REQUEST_CODE_FIRST + 0)
#define TOO_MANY (WEIR_REQUEST_CODE_FIRST + 1)

static weir_node *node;
static weir_requests *requests;

/* ---- serving ------------------------------------------------------------------------------- */

struct file { /* one answer under way; one shard, so one thread */
    weir_reply reply;
    int fd; /* 0: free */
    size_t len, off;
    char bytes[65536];
};
static struct file files[FILES];
static int folder;

static struct file *find(uint64_t serial)
{
    for (int i = 0; i < FILES; i++)
        if (serial ? files[i].fd && files[i].reply.serial == serial : !files[i].fd)
            return &files[i];
    return NULL;
}

static void let_go(struct file *file)
{
    close(file->fd);
    file->fd = 0;
}

/* Writes until the asker has enough for now, or the file ends. */
static void stream(struct file *file)
{
    for (;;) {
        if (file->off == file->len) {
            ssize_t got = read(file->fd, file->bytes, sizeof file->bytes);
            file->off = 0;
            file->len = got > 0 ? (size_t)got : 0;
        }
        /* Nothing more was read: an empty last part. */
        int64_t taken = weir_reply_write(requests, file->reply, file->bytes + file->off,
                                         file->len - file->off, file->len == 0);
        if (taken < 0 || file->len == 0) {
            let_go(file);
            return;
        }
        file->off += (size_t)taken;
        if (file->off < file->len)
            return; /* on_room */
    }
}

static void on_room(void *ctx, weir_reply reply)
{
    struct file *file = find(reply.serial);
    (void)ctx;
    if (file)
        stream(file);
}

static void on_over(void *ctx, weir_reply reply)
{
    struct file *file = find(reply.serial);
    (void)ctx;
    if (file)
        let_go(file);
}

static void on_question(void *ctx, const struct weir_request *request)
{
    char name[256] = "";
    (void)ctx;
    if (request->len < sizeof name)
        memcpy(name, request->data, request->len);
    struct file *file = find(0);
    /* One plain name: a peer chooses it. */
    int fd = strchr(name, '/') || name[0] == '.' || !name[0]
                 ? -1
                 : openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !file) {
        (void)weir_reply_error(requests, request->reply, file ? NOT_FOUND : TOO_MANY,
                               file ? "there is no such file" : "too many files are being read");
        if (fd >= 0)
            close(fd);
        return;
    }
    file->reply = request->reply;
    file->fd = fd;
    file->len = file->off = 0;
    stream(file);
}

/* ---- getting ------------------------------------------------------------------------------- */

static weir_inbox *inbox;

static void on_peer(void *ctx, weir_peer peer, int event, int reason)
{
    char **names = ctx;
    if (event != WEIR_PEER_UP) {
        if (reason != WEIR_R_SHUTDOWN) /* our own, at the end */
            fprintf(stderr, "%s\n", weir_reason_text(reason));
        if (event == WEIR_PEER_FAILED)
            _exit(1);
        return;
    }
    for (int i = 0; names[i]; i++) {
        struct weir_ask ask = {.size = sizeof ask,
                               .peer = peer,
                               .data = names[i],
                               .len = strlen(names[i]),
                               .tag = (uint64_t)i,
                               .timeout_ns = 60 * WEIR_NS_PER_S,
                               .inbox = inbox};
        int error = weir_ask(requests, &ask, NULL);
        if (error) {
            fprintf(stderr, "%s: %s\n", names[i], weir_error_text(error));
            _exit(1);
        }
    }
}

/* Writes the answers out as they come; returns how many files did not. */
static int get(char **names)
{
    int left = 0, failed = 0;
    while (names[left])
        left++;
    while (left) {
        const struct weir_answer *answer = weir_inbox_take(inbox, 60 * WEIR_NS_PER_S);
        if (!answer)
            return 1;
        const char *name = names[answer->tag];
        left -= answer->is_final;
        if (answer->kind == WEIR_ANSWER_PART) {
            fwrite(answer->data, 1, answer->len, stdout);
        } else {
            failed++;
            if (answer->kind == WEIR_ANSWER_ERROR)
                fprintf(stderr, "%s: %.*s (%d)\n", name, (int)answer->len,
                        (const char *)answer->data, answer->code);
            else
                fprintf(stderr, "%s: no answer (%d)\n", name, answer->kind);
        }
        weir_inbox_release(inbox, answer);
    }
    return failed;
}

int main(int argc, char **argv)
{
    int is_server = argc == 4 && !strcmp(argv[1], "serve");
    if (!is_server && (argc < 4 || strcmp(argv[1], "get") != 0)) {
        fprintf(stderr, "usage: fetch serve ADDRESS DIR | fetch get ADDRESS NAME...\n");
        return 2;
    }
    struct weir_config cfg = {.size = sizeof cfg};
    struct weir_request_config request_cfg = {.size = sizeof request_cfg};
    struct weir_reactor reactor = {.size = sizeof reactor, .ctx = argv + 3, .on_peer = on_peer};
    if (is_server) {
        request_cfg.on_question = on_question;
        request_cfg.on_room = on_room;
        request_cfg.on_over = on_over;
        folder = open(argv[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0) {
            perror(argv[3]);
            return 1;
        }
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* the node's threads inherit it */
    int error = weir_inbox_create(&inbox);
    if (!error)
        error = weir_node_create(&node, &cfg);
    if (!error)
        error = weir_requests_create(&requests, node, &request_cfg);
    if (!error && !is_server)
        error = weir_node_attach(node, &reactor, NULL, 0);
    if (!error)
        error = is_server ? weir_node_listen(node, argv[2]) : weir_dial(node, argv[2], 0);
    if (!error)
        error = weir_node_start(node);
    int failed = 0;
    if (error) {
        fprintf(stderr, "%s %s\n", weir_error_text(error), weir_error_remedy(error));
    } else if (is_server) {
        char address[128];
        int signal_number;
        if (weir_node_address(node, 0, address, sizeof address) == 0)
            printf("listening at %s\n", address);
        fflush(stdout);
        sigwait(&signals, &signal_number);
    } else {
        failed = get(argv + 3);
    }
    weir_node_free(node);
    weir_requests_free(requests);
    weir_inbox_free(inbox);
    return error || failed;
}
