// The floor: the least that a server must do to carry messages from WebSockets over Redis to WebSockets.
//
//   floor PORT REDIS_PORT
//
// One thread, one epoll. GET /ws/ROOM is upgraded; a frame of a client is published on the channel of its room; what
// Redis tells on a channel is written to every socket of the room, one send() each. No authorisation, no validation,
// no patience: a socket that does not take a whole frame at once is closed.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "websocket.h"

enum { ROOMS = 8192, EVENTS = 512, SPACE = 1 << 20, FLUSH_AT = 1 << 19, BACKLOG = 4096 };

struct socket {
    int fd;
    int is_open; // upgraded, and in a room
    int room, place; // its place in the room's list
    char *held; // what has arrived and is not complete
    size_t size, space;
};

struct room {
    struct socket **sockets;
    int count, space;
};

static struct room rooms[ROOMS];
static int epoll;
static struct socket listener, publisher, subscriber;
static char pending[SPACE]; // commands for the publisher
static size_t pending_size;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(struct socket *s)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event) < 0)
        die("epoll_ctl");
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = write(fd, data, size);
        if (sent <= 0)
            die("write to Redis");
        data += sent;
        size -= (size_t)sent;
    }
}

// --- SHA-1 and base64, for Sec-WebSocket-Accept

static uint32_t rotated(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

static void sha1_block(uint32_t h[5], const unsigned char *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
        uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
        uint32_t next = rotated(a, 5) + f + e + k + w[i];
        e = d, d = c, c = rotated(b, 30), b = a, a = next;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
}

// `size` at most 119 bytes: two blocks.
static void sha1(const char *data, size_t size, unsigned char digest[20])
{
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char blocks[128] = {0};
    size_t total = size < 56 ? 64 : 128;
    memcpy(blocks, data, size);
    blocks[size] = 0x80;
    for (int i = 0; i < 8; i++)
        blocks[total - 1 - (size_t)i] = (unsigned char)((uint64_t)size * 8 >> (8 * i));
    for (size_t i = 0; i < total; i += 64)
        sha1_block(h, blocks + i);
    for (int i = 0; i < 20; i++)
        digest[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char *data, int size, char *text)
{
    const char *letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < size; i += 3) {
        int three = data[i] << 16 | (i + 1 < size ? data[i + 1] << 8 : 0) | (i + 2 < size ? data[i + 2] : 0);
        *text++ = letters[three >> 18];
        *text++ = letters[three >> 12 & 63];
        *text++ = i + 1 < size ? letters[three >> 6 & 63] : '=';
        *text++ = i + 2 < size ? letters[three & 63] : '=';
    }
    *text = 0;
}

// --- Redis: RESP2, as far as PUBLISH and SUBSCRIBE need it

static int connect_to_redis(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect to Redis");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void flush_pending(void)
{
    send_all(publisher.fd, pending, pending_size);
    pending_size = 0;
}

static void publish(int room, const char *payload, size_t size)
{
    char channel[32];
    int length = snprintf(channel, sizeof channel, "floor:%d", room);
    if (pending_size + size + 128 > sizeof pending || pending_size > FLUSH_AT)
        flush_pending();
    pending_size += (size_t)sprintf(pending + pending_size, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%zu\r\n", length,
                                    channel, size);
    memcpy(pending + pending_size, payload, size);
    memcpy(pending + pending_size + size, "\r\n", 2);
    pending_size += size + 2;
}

static void subscribe(int room)
{
    char channel[32], command[96];
    int length = snprintf(channel, sizeof channel, "floor:%d", room);
    int size = snprintf(command, sizeof command, "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", length, channel);
    send_all(subscriber.fd, command, (size_t)size);
}

struct text {
    char *data;
    size_t size;
};

// Read one bulk string or integer. Returns where it ends, or NULL while it is not complete.
static char *read_item(char *at, char *end, struct text *item)
{
    char *line = memchr(at, '\n', (size_t)(end - at));
    if (line == NULL)
        return NULL;
    item->data = at + 1;
    item->size = (size_t)(line - at) - 2;
    if (*at != '$')
        return line + 1;
    item->data = line + 1;
    item->size = strtoul(at + 1, NULL, 10);
    return (size_t)(end - item->data) < item->size + 2 ? NULL : item->data + item->size + 2;
}

// Read one array of three, which is all that a subscriber is sent. Returns where it ends, or NULL.
static char *read_push(char *at, char *end, struct text items[3])
{
    char *line = memchr(at, '\n', (size_t)(end - at));
    if (line == NULL)
        return NULL;
    at = line + 1;
    for (int i = 0; i < 3 && at != NULL; i++)
        at = at == end ? NULL : read_item(at, end, &items[i]);
    return at;
}

// --- rooms

static void enter(struct socket *s, int number)
{
    struct room *room = &rooms[number];
    if (room->count == room->space) {
        if (room->space == 0)
            subscribe(number);
        room->space = room->space ? room->space * 2 : 16;
        room->sockets = realloc(room->sockets, (size_t)room->space * sizeof *room->sockets);
        if (room->sockets == NULL)
            die("realloc");
    }
    s->room = number;
    s->place = room->count;
    s->is_open = 1;
    room->sockets[room->count++] = s;
}

static void drop(struct socket *s)
{
    if (s->is_open) {
        struct room *room = &rooms[s->room];
        room->sockets[s->place] = room->sockets[--room->count];
        room->sockets[s->place]->place = s->place;
    }
    close(s->fd);
    free(s->held);
    free(s);
}

static void fan_out(int number, const char *payload, size_t size)
{
    static char frame[WS_LONGEST_HEADER + SPACE];
    struct room *room = &rooms[number];
    size_t header = ws_header(frame, WS_TEXT, size, 0), length = header + size;
    memcpy(frame + header, payload, size);
    for (int i = room->count - 1; i >= 0; i--) {
        struct socket *s = room->sockets[i];
        if (send(s->fd, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length)
            shutdown(s->fd, SHUT_RDWR); // its end is read, and then it is dropped
    }
}

// --- what arrives

static void accept_all(void)
{
    int fd, one = 1;
    while ((fd = accept4(listener.fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct socket *s = calloc(1, sizeof *s);
        if (s == NULL)
            die("calloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        s->fd = fd;
        watch(s);
    }
}

// Append what can be read. False when the other end has hung up.
static int fill(struct socket *s)
{
    if (s->space < s->size + 4096) {
        s->space = s->size + 8192;
        s->held = realloc(s->held, s->space);
        if (s->held == NULL)
            die("realloc");
    }
    ssize_t got = recv(s->fd, s->held + s->size, s->space - s->size - 1, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    s->size += (size_t)got;
    s->held[s->size] = 0;
    return 1;
}

static void keep_from(struct socket *s, size_t position)
{
    s->size -= position;
    memmove(s->held, s->held + position, s->size);
}

static void hear_redis(void)
{
    struct text items[3];
    if (!fill(&subscriber))
        die("Redis hung up");
    char *at = subscriber.held, *end = at + subscriber.size, *next;
    while (at < end && (next = read_push(at, end, items)) != NULL) {
        if (items[0].size == 7) // "message"; the other is "subscribe"
            fan_out(atoi(items[1].data + strlen("floor:")), items[2].data, items[2].size);
        at = next;
    }
    keep_from(&subscriber, (size_t)(at - subscriber.held));
}

// Answer the request for an upgrade. False when it is none.
static int upgrade(struct socket *s)
{
    char answer[256], joined[100], accept[32];
    unsigned char digest[20];
    char *end = strstr(s->held, "\r\n\r\n");
    if (end == NULL)
        return 1;
    char *key = strcasestr(s->held, "Sec-WebSocket-Key: ");
    int room = strncmp(s->held, "GET /ws/", 8) == 0 ? atoi(s->held + 8) : -1;
    if (key == NULL || room < 0 || room >= ROOMS)
        return 0;
    key += strlen("Sec-WebSocket-Key: ");
    int length = snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(joined, (size_t)length, digest);
    base64(digest, sizeof digest, accept);
    length = snprintf(answer, sizeof answer,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    if (send(s->fd, answer, (size_t)length, MSG_NOSIGNAL) != length)
        return 0;
    enter(s, room);
    free(s->held);
    s->held = NULL;
    s->size = s->space = 0;
    return 1;
}

// Publish the frames that are complete. False after a close frame.
static int take_frames(struct socket *s)
{
    size_t position = 0, taken;
    struct ws_frame frame;
    while ((taken = ws_parse(s->held + position, s->size - position, &frame)) > 0) {
        int opcode = frame.first & 0xF;
        if (opcode == WS_CLOSE)
            return 0;
        for (size_t i = 0; frame.mask && i < frame.size; i++)
            frame.payload[i] ^= (char)frame.mask[i & 3];
        if (opcode == WS_TEXT)
            publish(s->room, frame.payload, frame.size);
        position += taken;
    }
    keep_from(s, position);
    return 1;
}

static void handle(struct socket *s)
{
    static char ignored[65536];
    if (s == &listener)
        accept_all();
    else if (s == &subscriber)
        hear_redis();
    else if (s == &publisher) // counts of subscribers
        (void)!read(publisher.fd, ignored, sizeof ignored);
    else if (!fill(s) || !(s->is_open ? take_frames(s) : upgrade(s)))
        drop(s);
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
        die("listen");
    return fd;
}

int main(int count, char **words)
{
    struct epoll_event events[EVENTS];
    if (count != 3) {
        fprintf(stderr, "floor PORT REDIS_PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(0);
    publisher.fd = connect_to_redis(atoi(words[2]));
    subscriber.fd = connect_to_redis(atoi(words[2]));
    subscriber.held = malloc(subscriber.space = SPACE);
    listener.fd = listen_on(atoi(words[1]));
    watch(&publisher);
    watch(&subscriber);
    watch(&listener);
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++)
            handle(events[i].data.ptr);
        if (pending_size)
            flush_pending();
    }
}
