#include "weir/error.h"

#include <assert.h>
#include <stddef.h>

#define TEXT_OF(x) #x
#define STRING_OF(x) TEXT_OF(x)

struct error_entry {
    const char *name;
    const char *text;
    const char *remedy;
};

/* By the negated code. A test goes through all of them, so a new code without a line here fails. */
#define ENTRY(code, text_, remedy_) [-(code)] = {.name = #code, .text = text_, .remedy = remedy_}
static const struct error_entry errors[WEIR_ERROR_CNT] = {
    ENTRY(WEIR_OK, "It worked.", ""),
    ENTRY(WEIR_E_MISUSE, "The call breaks the function's contract.",
          "Compare the arguments, and the thread, with what the function's header says."),
    ENTRY(WEIR_E_NOMEM, "The heap, a pool or the lockable memory is exhausted.",
          "Free what is kept, or raise pool_bytes_max or the process's memory limit."),
    ENTRY(WEIR_E_FULL, "The send queue or the shard's mailbox has no room now.",
          "Wait for on_writable, or use a send with a deadline; a larger send_bytes_max helps "
          "with bursts only."),
    ENTRY(WEIR_E_GONE, "The peer is no longer connected.",
          "Forget the id; on_peer tells when the peer is back, with a new one."),
    ENTRY(WEIR_E_TOO_BIG, "The message is above the channel's negotiated maximum.",
          "Split the message, or raise msg_bytes_max of the channel on both sides."),
    ENTRY(WEIR_E_NO_CHANNEL, "The channel is not attached here, or the peer does not have it.",
          "Attach the channel before start, with the same id on both sides."),
    ENTRY(WEIR_E_TIMEOUT, "The deadline passed before the call could be done.",
          "Wait longer, or find out why the other side is slow (see weir_peer_info)."),
    ENTRY(WEIR_E_ADDRESS, "The address or name does not parse, or cannot be used here.",
          "Write 1.2.3.4:80, [::1]:80, [fe80::1%2]:80, unix:PATH or unix:@NAME; to dial, also "
          "example.org:80."),
    ENTRY(WEIR_E_IN_USE, "The address, port or socket file is in use.",
          "Stop the other process, choose another port, or remove the stale socket file."),
    ENTRY(WEIR_E_ACCESS, "The system denies access to the port or to the socket file's folder.",
          "Use a port of 1024 or above, or give the process the right it lacks."),
    ENTRY(WEIR_E_NO_URING, "The system or its sandbox refuses io_uring.",
          "Set the sysctl kernel.io_uring_disabled to 0, or allow io_uring in the container's "
          "seccomp profile."),
    ENTRY(WEIR_E_MEMLOCK, "RLIMIT_MEMLOCK is too small for the rings, even for small ones.",
          "Raise the limit (ulimit -l, LimitMEMLOCK= of the service), or use fewer shards."),
    ENTRY(WEIR_E_DESCRIPTORS, "No file descriptors are left.",
          "Raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE= of the service), or lower peers_max."),
    ENTRY(WEIR_E_CONFIG, "A field of a configuration struct is out of its range.",
          "The log callback names the field; its range is in weir/config.h."),
    ENTRY(WEIR_E_VERSION, "A struct from a newer weir uses fields that this library does not know.",
          "Run the program with the library it was compiled for, or a newer one."),
    ENTRY(WEIR_E_DUPLICATE, "Two reactors claim one channel.", "Give each channel to one reactor."),
    ENTRY(WEIR_E_STATE, "The call is not possible in the node's present state.",
          "Attach before start; send between start and stop."),
    ENTRY(WEIR_E_SHARD_THREAD, "The call blocks, and so is refused on a shard's thread.",
          "Use the form that does not wait, or call it from another thread."),
    ENTRY(WEIR_E_KERNEL, "The kernel lacks a feature that weir needs.", "Run Linux 6.1 or newer."),
    ENTRY(WEIR_E_SYSTEM, "The system answered with an error that has no code of its own here.",
          "The log callback has the call and its errno."),
    ENTRY(WEIR_E_LIMIT, "A configured limit on peers, dials or listeners is reached.",
          "Raise the limit in struct weir_config, or end something first."),
    ENTRY(WEIR_E_FAULT, "The peer's bytes break the wire format.",
          "Look at the close reason; if both sides run weir, compare their versions."),
    ENTRY(WEIR_E_KEY, "A key, a key file or a node id is damaged or of another kind.",
          "Copy it again as a whole, or make a new key with weir keygen."),
    ENTRY(WEIR_E_KEY_EXPOSED, "Others than its owner can read the key file.",
          "Set its mode to 600, and make a new key if somebody may have read this one."),
};
#undef ENTRY

struct reason_entry {
    const char *name;
    const char *text;
};

/* By number; the gaps are left for reasons to come. */
static const struct reason_entry reasons[WEIR_REASON_CNT] = {
    [WEIR_R_NONE] = {"none", "There is no reason: the connection has not ended."},

    [WEIR_R_SHUTDOWN] = {"shutdown", "A node is stopping."},
    [WEIR_R_APPLICATION] = {"application", "An application asked for the disconnection."},
    [WEIR_R_EOF] = {"eof", "The peer closed the connection without a goodbye."},
    [WEIR_R_RESET] = {"reset", "The connection was reset, or the network failed."},
    [WEIR_R_REFUSED] = {"refused", "Nobody listens at the address."},
    [WEIR_R_UNREACHABLE] = {"unreachable", "There is no route to the address."},
    [WEIR_R_DIAL_TIMEOUT] = {"dial-timeout", "The connection was not made in time."},
    [WEIR_R_NAME_NOT_FOUND] = {"name-not-found", "No host has the name that was dialed."},
    [WEIR_R_NAME_TEMPORARY] = {"name-temporary", "The name could not be looked up for now."},
    [WEIR_R_NAME_NO_ADDRESS] = {"name-no-address", "The name has no IPv4 or IPv6 address."},
    [WEIR_R_NAME_TIMEOUT] = {"name-timeout", "The name was not looked up in time."},
    [WEIR_R_RACE] = {"race", "Another address of the same name was faster, or the dial was "
                             "cancelled."},

    [WEIR_R_HANDSHAKE_TIMEOUT] = {"handshake-timeout", "The handshake was not done in time."},
    [WEIR_R_IDLE] = {"idle", "Nothing, not even a pong, arrived in time."},
    [WEIR_R_PING_TIMEOUT] = {"ping-timeout", "A ping was not answered in time."},
    [WEIR_R_STALLED] = {"stalled", "The peer did not take the bytes for it in time."},

    [WEIR_R_NOT_WEIR] = {"not-weir", "The first bytes are not those of weir."},
    [WEIR_R_HTTP] = {"http", "The first bytes look like HTTP."},
    [WEIR_R_TLS] = {"tls", "The first bytes look like TLS."},
    [WEIR_R_WRONG_NETWORK] = {"wrong-network", "The peer belongs to another network."},
    [WEIR_R_WRONG_VERSION] = {"wrong-version", "The two sides have no wire version in common."},
    [WEIR_R_SELF] = {"self", "The node dialed itself."},
    [WEIR_R_NO_CHANNELS] = {"no-channels", "The two sides have no channel in common."},
    [WEIR_R_BAD_HELLO] = {"bad-hello", "The hello is malformed or contradicts itself."},
    [WEIR_R_CRITICAL_FEATURE] = {"critical-feature",
                                 "The peer insists on a feature that is not known here."},
    [WEIR_R_HANDSHAKE_BYTES] = {"handshake-bytes", "More bytes came than a handshake may have."},

    [WEIR_R_BAD_MAGIC] = {"bad-magic", "A frame does not begin with the magic."},
    [WEIR_R_BAD_HEADER] = {"bad-header", "A frame header's own check does not match."},
    [WEIR_R_BAD_LENGTH] = {"bad-length", "A frame's length is above the negotiated maximum."},
    [WEIR_R_BAD_CHECKSUM] = {"bad-checksum", "A frame's payload does not match its checksum."},
    [WEIR_R_BAD_CHANNEL] = {"bad-channel", "A frame names a channel that was not agreed."},
    [WEIR_R_BAD_KIND] = {"bad-kind", "A frame is of an unknown kind that is marked critical."},
    [WEIR_R_BAD_RUN] = {"bad-run", "A run's length prefixes do not add up to its payload."},
    [WEIR_R_BAD_FRAGMENT] = {"bad-fragment",
                             "A fragment has no beginning, or goes past its message's end."},
    [WEIR_R_BAD_CONTROL] = {"bad-control", "A control frame's payload is malformed."},
    [WEIR_R_MESSAGE_TOO_BIG] = {"message-too-big", "A message is above the channel's maximum."},
    [WEIR_R_CREDIT] = {"credit", "The peer sent more bytes than it was granted."},
    [WEIR_R_FLOOD] = {"flood", "The peer sent more control frames than it has reason to."},

    [WEIR_R_LIMIT_PEERS] = {"limit-peers", "There is no room for another peer."},
    [WEIR_R_LIMIT_MEMORY] = {"limit-memory",
                             "The memory budget of the peer or of its shard is exhausted."},
    [WEIR_R_OVERFLOW] = {"overflow", "A send queue was full, and its policy is to close."},
    [WEIR_R_INTERNAL] = {"internal", "The engine could not go on after a ring or system error."},
    [WEIR_R_LIMIT_INBOUND] = {"limit-inbound", "As many peers as there may be have dialed us."},
    [WEIR_R_LIMIT_OUTBOUND] = {"limit-outbound", "As many peers as there may be were dialed."},
    [WEIR_R_LIMIT_ADDRESS] = {"limit-address", "There are too many connections with one address."},
    [WEIR_R_LIMIT_SUBNET] = {"limit-subnet", "There are too many connections with one subnet."},
    [WEIR_R_LIMIT_RATE] = {"limit-rate", "An address or its subnet connects too often."},
    [WEIR_R_LIMIT_HANDSHAKES] = {"limit-handshakes",
                                 "Too many strangers are waiting for their handshake."},
    [WEIR_R_BANNED] = {"banned", "The address is banned."},
    [WEIR_R_MISBEHAVED] = {"misbehaved", "The application found the peer misbehaving."},
    [WEIR_R_EVICTED] = {"evicted", "All inbound places are taken, and this one was given away."},
    [WEIR_R_NOT_NEEDED] = {"not-needed",
                           "The connection has served: it was a test, or there is another."},
    [WEIR_R_BAD_REQUEST] = {"bad-request", "The peer broke the protocol of requests."},
    [WEIR_R_BAD_GOSSIP] = {"bad-gossip", "The peer broke the protocol of gossip."},

    [WEIR_R_PROXY_DOWN] = {"proxy-down", "The proxy itself cannot be reached."},
    [WEIR_R_PROXY_CLOSED] = {"proxy-closed", "The proxy closed the connection before it answered."},
    [WEIR_R_PROXY_PROTOCOL] = {"proxy-protocol", "The proxy's bytes are not SOCKS5."},
    [WEIR_R_PROXY_METHOD] = {"proxy-method", "The proxy accepts none of the ways to authenticate."},
    [WEIR_R_PROXY_AUTH] = {"proxy-auth", "The proxy refused user and password."},
    [WEIR_R_PROXY_GENERAL] = {"proxy-general", "The proxy failed, it says (reply 1)."},
    [WEIR_R_PROXY_RULES] = {"proxy-rules",
                            "The rules of the proxy forbid the connection (reply 2)."},
    [WEIR_R_PROXY_NETWORK] = {"proxy-network", "The proxy has no route to the network (reply 3)."},
    [WEIR_R_PROXY_HOST] = {"proxy-host",
                           "The proxy cannot reach the host, or find its name (reply 4)."},
    [WEIR_R_PROXY_REFUSED] = {"proxy-refused", "The target refused the proxy (reply 5)."},
    [WEIR_R_PROXY_TTL] = {"proxy-ttl", "The connection took the proxy too long (reply 6)."},
    [WEIR_R_PROXY_COMMAND] = {"proxy-command", "The proxy does not make connections (reply 7)."},
    [WEIR_R_PROXY_TYPE] = {"proxy-type", "The proxy does not know this type of address (reply 8)."},
    [WEIR_R_PROXY_ONION_NOT_FOUND] = {"proxy-onion-not-found",
                                      "The onion service has no descriptor (reply F0)."},
    [WEIR_R_PROXY_ONION_INVALID] = {"proxy-onion-invalid",
                                    "The descriptor of the onion service is invalid (reply F1)."},
    [WEIR_R_PROXY_ONION_INTRO] = {"proxy-onion-intro",
                                  "No introduction to the onion service was possible (reply F2)."},
    [WEIR_R_PROXY_ONION_RENDEZVOUS] =
        {"proxy-onion-rendezvous", "The onion service did not come to the rendezvous (reply F3)."},
    [WEIR_R_PROXY_ONION_NO_AUTH] = {"proxy-onion-no-auth",
                                    "The onion service wants client authorization (reply F4)."},
    [WEIR_R_PROXY_ONION_BAD_AUTH] =
        {"proxy-onion-bad-auth",
         "The client authorization for the onion service is wrong (reply F5)."},
    [WEIR_R_PROXY_ONION_ADDRESS] = {"proxy-onion-address",
                                    "The onion address is malformed (reply F6)."},
    [WEIR_R_PROXY_ONION_TIMEOUT] =
        {"proxy-onion-timeout", "The introduction to the onion service took too long (reply F7)."},
    [WEIR_R_PROXY_UNKNOWN] = {"proxy-unknown", "The proxy failed with a code that is not known."},

    [WEIR_R_PLAIN_REFUSED] = {"plain-refused",
                              "The peer is plain, and this node takes encrypted peers only."},
    [WEIR_R_SECURE_REFUSED] = {"secure-refused",
                               "The peer is encrypted, and this node takes plain peers only."},
    [WEIR_R_NETWORK_KEY] = {"network-key", "One side has a network key and the other has none."},
    [WEIR_R_HANDSHAKE_CRYPTO] = {"handshake-crypto",
                                 "A message of the handshake does not open: "
                                 "another network id or network key, or it was changed."},
    [WEIR_R_BAD_KEY] = {"bad-key", "The peer sent a public key of low order."},
    [WEIR_R_BAD_IDENTITY] = {"bad-identity", "The proof of the peer's node id does not hold."},
    [WEIR_R_WRONG_ID] = {"wrong-id", "Another node answers at the address than the one dialed."},
    [WEIR_R_BAD_RECORD] = {"bad-record",
                           "A record does not open: it was changed, replayed or reordered."},
    [WEIR_R_DUPLICATE_PEER] = {"duplicate-peer",
                               "There is another connection with this node, which stays."},
};

static_assert(-WEIR_E_KEY_EXPOSED + 1 == WEIR_ERROR_CNT, "WEIR_ERROR_CNT counts the codes");
static_assert(WEIR_R_DUPLICATE_PEER + 1 == WEIR_REASON_CNT,
              "WEIR_REASON_CNT is past the last reason");

static const struct error_entry *find_error(int error)
{
    static const struct error_entry unknown = {
        .name = "WEIR_E_?",
        .text = "The number is not an error code of this library.",
        .remedy = "",
    };
    if (error > 0 || error <= -WEIR_ERROR_CNT) {
        return &unknown;
    }
    return &errors[-error];
}

static const struct reason_entry *find_reason(int reason)
{
    static const struct reason_entry unknown = {"unknown", "The number is not a known reason."};
    if (reason < 0 || reason >= WEIR_REASON_CNT || reasons[reason].name == NULL) {
        return &unknown;
    }
    return &reasons[reason];
}

const char *weir_error_name(int error)
{
    return find_error(error)->name;
}

const char *weir_error_text(int error)
{
    return find_error(error)->text;
}

const char *weir_error_remedy(int error)
{
    return find_error(error)->remedy;
}

const char *weir_reason_name(int reason)
{
    return find_reason(reason)->name;
}

const char *weir_reason_text(int reason)
{
    return find_reason(reason)->text;
}

const char *weir_version(void)
{
    return STRING_OF(WEIR_VERSION_MAJOR) "." STRING_OF(WEIR_VERSION_MINOR) "." STRING_OF(
        WEIR_VERSION_PATCH);
}
