// WebSocket load client: one thread, one epoll, loopback only, bounded in time.
//
//   client --port P --targets FILE --frame TEXT --marker TEXT (--window N | --rate R) [options]
//   client --port P --targets FILE --handshakes [options]
//
// FILE has one line for each connection: the number of its room, the request path, and perhaps a bearer token.
// All connections are opened, at most --concurrency at a time. Then the first --senders connections of each room take
// turns in sending --frame, in which {n} becomes the number of the message: either as soon as fewer than --window
// messages of the room are under way (closed loop), or --rate times a second (open loop).
//
// Only frames that hold --marker among their first bytes are deliveries. The k-th delivery of a room on a connection is
// taken for the k-th message sent there, so that messages need no time stamp. A compressed frame (RSV1) cannot be
// looked into and counts as a delivery.
//
// On stdout come `ready N SECONDS` (then it waits for a line on stdin), `start`, `end`, and one line of JSON.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "websocket.h"

enum {
    MARKER_WITHIN = 96, // bytes of a frame in which a marker is looked for
    CLOSE_KINDS = 16,
    EVENTS = 1024,
    READ_SPACE = 1 << 18,
    SLOW_RECEIVE_BUFFER = 4096,
    NO_CLOSE_FRAME = 1006,
    SHOWN_REFUSALS = 3,
    OPENING_PASSES = 10, // whoever is refused (503, 429) asks again, as a browser would
};
static const uint64_t SECOND = 1000000000ull, STALL = 1500000000ull, GO_WITHIN = 300, FLOOD_PAUSE = 1000000000ull;

enum state { IDLE, CONNECTING, UPGRADING, GREETING, OPEN, CLOSED };

struct connection {
    int fd;
    enum state state;
    int room;
    int is_slow;    // never reads once it is open
    int is_flooder; // sends --flood as fast as the socket takes it, and comes back when it is cut off
    uint64_t began_at, delivered;
    const char *path, *token;
    char *held; // the beginning of a frame
    size_t held_size, held_space;
    char *waiting; // what the kernel has not taken yet
    size_t waiting_size, waiting_space;
};

struct room {
    int readers; // connections that must receive everything
    struct connection **senders;
    int sender_count;
    uint64_t sent, delivered, given_up; // given_up: deliveries that a stall made us stop waiting for
    uint64_t *sent_at;
    size_t sent_space;
    uint64_t progress_at;
};

static struct {
    int port, window, senders, concurrency, slow, deflate, handshakes, socketio;
    double rate, seconds, warm, settle, drain, drain_within, open_within;
    const char *targets, *frame, *marker, *opened_by, *flood;
} opt = {.senders = 1, .concurrency = 64, .seconds = 5, .warm = 1, .settle = 1, 
         .drain = 3, .drain_within = 20, .open_within = 240};

static struct {
    uint64_t delivered, bytes, compressed, unexpected, acks, errors, stalls, refused, opened;
    struct { int code; uint64_t count; } closes[CLOSE_KINDS];
    struct histogram latency, ack_latency, lateness;
} seen;

static struct connection *connections;
static struct room *rooms;
static int connection_count, room_count, open_count, underway, epoll;
static uint64_t measure_from, measure_until; // 0: not yet
static uint64_t flood_again_at;
static char scratch[READ_SPACE];

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static double seconds_between(uint64_t from, uint64_t until)
{
    return (double)(until - from) / 1e9;
}

static uint64_t nanoseconds(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void *grown(void *old, size_t *space, size_t wanted, size_t unit)
{
    if (wanted <= *space)
        return old;
    *space = wanted * 2;
    void *larger = realloc(old, *space * unit);
    if (larger == NULL)
        die("realloc");
    return larger;
}

static int is_measured(uint64_t at)
{
    return measure_from != 0 && at >= measure_from && (measure_until == 0 || at < measure_until);
}

static int holds(const char *data, size_t size, const char *text)
{
    return memmem(data, size < MARKER_WITHIN ? size : MARKER_WITHIN, text, strlen(text)) != NULL;
}

// --- sockets

static void watch(struct connection *c, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, how, c->fd, &event) < 0)
        die("epoll_ctl");
}

static void begin(struct connection *c)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    int one = 1, small = SLOW_RECEIVE_BUFFER;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->is_slow)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        die("connect");
    c->state = CONNECTING;
    c->held_size = c->waiting_size = 0;
    c->began_at = now();
    underway++;
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void count_close(int code)
{
    for (int i = 0; i < CLOSE_KINDS; i++)
        if (seen.closes[i].count == 0 || seen.closes[i].code == code) {
            seen.closes[i].code = code;
            seen.closes[i].count++;
            return;
        }
}

// Let go of a socket; `code` says why, when it was open.
static void finish(struct connection *c, int code)
{
    if (c->state == OPEN) {
        open_count--;
        count_close(code);
    } else {
        underway--;
        seen.refused++;
    }
    close(c->fd);
    c->state = CLOSED;
    if (c->is_flooder)
        flood_again_at = now() + FLOOD_PAUSE;
}

// Hand bytes to the kernel; what it does not take waits for EPOLLOUT.
static void put(struct connection *c, const char *data, size_t size)
{
    ssize_t taken = 0;
    if (c->waiting_size == 0) {
        taken = send(c->fd, data, size, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN)
            return; // reading will tell
        if (taken == (ssize_t)size)
            return;
        taken = taken < 0 ? 0 : taken;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    size -= (size_t)taken;
    c->waiting = grown(c->waiting, &c->waiting_space, c->waiting_size + size, 1);
    memcpy(c->waiting + c->waiting_size, data + taken, size);
    c->waiting_size += size;
}

static void put_frame(struct connection *c, int opcode, const char *payload, size_t size)
{
    static char frame[WS_LONGEST_HEADER + 65536];
    if (size > 65536)
        return;
    size_t header = ws_header(frame, opcode, size, 1);
    memcpy(frame + header, payload, size);
    put(c, frame, header + size);
}

static void flush_waiting(struct connection *c)
{
    ssize_t taken = send(c->fd, c->waiting, c->waiting_size, MSG_NOSIGNAL);
    if (taken > 0) {
        c->waiting_size -= (size_t)taken;
        memmove(c->waiting, c->waiting + taken, c->waiting_size);
    }
    if (c->waiting_size == 0 || (taken < 0 && errno != EAGAIN)) {
        c->waiting_size = 0;
        if (!c->is_flooder)
            watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
}

// --- the handshake

static void ask_for_upgrade(struct connection *c)
{
    char request[4096];
    int failed = 0;
    socklen_t size = sizeof failed;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &failed, &size);
    if (failed) {
        finish(c, 0);
        return;
    }
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s%s\r\n",
                          c->path, opt.port,
                          opt.deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "",
                          c->token ? "Authorization: Bearer " : "", c->token ? c->token : "", c->token ? "\r\n" : "");
    c->state = UPGRADING;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    put(c, request, (size_t)length);
}

static void opened(struct connection *c)
{
    c->state = OPEN;
    open_count++;
    underway--;
    seen.opened++;
    if (c->is_slow && !opt.handshakes && epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL) < 0)
        die("epoll_ctl");
    if (c->is_flooder && measure_from)
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

// Returns how many bytes the answer takes; 0 while it is not complete, or when it was a refusal.
static size_t read_answer(struct connection *c, char *data, size_t size)
{
    char *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    if (size < 12 || memcmp(data, "HTTP/1.1 101", 12) != 0) {
        if (seen.refused < SHOWN_REFUSALS)
            fprintf(stderr, "refused: %.*s\n", (int)(size < 900 ? size : 900), data);
        finish(c, 0);
        return 0;
    }
    if (opt.socketio || opt.opened_by)
        c->state = GREETING;
    else
        opened(c);
    return (size_t)(end + 4 - data);
}

// Socket.IO over Engine.IO 4: open, connect, join, joined.
static void greet_socketio(struct connection *c, const char *payload, size_t size)
{
    char text[64];
    if (size > 0 && payload[0] == '0') {
        put_frame(c, WS_TEXT, "40", 2);
    } else if (size > 1 && payload[0] == '4' && payload[1] == '0') {
        int length = snprintf(text, sizeof text, "42[\"join\",\"%d\"]", c->room);
        put_frame(c, WS_TEXT, text, (size_t)length);
    } else if (holds(payload, size, opt.opened_by)) {
        opened(c);
    }
}

// --- what arrives

static void count_delivery(struct connection *c, uint64_t at)
{
    struct room *room = &rooms[c->room];
    if (c->is_flooder)
        return;
    if (c->delivered >= room->sent) {
        seen.unexpected++;
        return;
    }
    uint64_t sent_at = room->sent_at[c->delivered++];
    room->delivered++;
    room->progress_at = at;
    if (is_measured(at))
        seen.delivered++;
    if (is_measured(sent_at))
        histogram_add(&seen.latency, at > sent_at ? (at - sent_at) / 1000 : 0);
}

static void count_ack(struct connection *c, const char *payload, size_t size, uint64_t at)
{
    struct room *room = &rooms[c->room];
    const char *id = memmem(payload, size, "\"id\":", 5);
    if (id == NULL)
        return;
    id += id[5] == '"' ? 6 : 5;
    uint64_t number = strtoull(id, NULL, 10);
    seen.acks++;
    if (number < room->sent && is_measured(room->sent_at[number]))
        histogram_add(&seen.ack_latency, (at - room->sent_at[number]) / 1000);
}

static void take_text(struct connection *c, const struct ws_frame *frame, uint64_t at)
{
    if (frame->first & WS_RSV1) {
        seen.compressed++;
        count_delivery(c, at);
    } else if (c->state == GREETING) {
        if (opt.socketio)
            greet_socketio(c, frame->payload, frame->size);
        else if (holds(frame->payload, frame->size, opt.opened_by))
            opened(c);
    } else if (opt.marker && holds(frame->payload, frame->size, opt.marker)) {
        count_delivery(c, at);
    } else if (opt.socketio && frame->size == 1 && frame->payload[0] == '2') {
        put_frame(c, WS_TEXT, "3", 1);
    } else if (holds(frame->payload, frame->size, "\"type\":\"ack\"")) {
        count_ack(c, frame->payload, frame->size, at);
    } else if (!c->is_flooder && holds(frame->payload, frame->size, "\"type\":\"error\"")) {
        if (seen.errors++ < SHOWN_REFUSALS)
            fprintf(stderr, "error: %.*s\n", (int)(frame->size < 500 ? frame->size : 500), frame->payload);
    }
}

static void take_frame(struct connection *c, const struct ws_frame *frame, uint64_t at)
{
    int opcode = frame->first & 0xF;
    if (opcode == WS_PING) {
        put_frame(c, WS_PONG, frame->payload, frame->size);
    } else if (opcode == WS_CLOSE) {
        unsigned char *code = (unsigned char *)frame->payload;
        put_frame(c, WS_CLOSE, frame->payload, frame->size < 2 ? 0 : 2);
        finish(c, frame->size < 2 ? 1005 : code[0] << 8 | code[1]);
    } else if (opcode == WS_TEXT || opcode == WS_BINARY) {
        take_text(c, frame, at);
    }
}

static void take(struct connection *c)
{
    memcpy(scratch, c->held, c->held_size);
    ssize_t got = recv(c->fd, scratch + c->held_size, sizeof scratch - c->held_size, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        finish(c, NO_CLOSE_FRAME);
        return;
    }
    uint64_t at = now();
    size_t size = c->held_size + (size_t)got, position = 0;
    struct ws_frame frame;
    if (is_measured(at))
        seen.bytes += (uint64_t)got;
    if (c->state == UPGRADING)
        position = read_answer(c, scratch, size);
    while (c->state == GREETING || c->state == OPEN) {
        size_t taken = ws_parse(scratch + position, size - position, &frame);
        if (taken == 0)
            break;
        take_frame(c, &frame, at);
        position += taken;
    }
    if (c->state == CLOSED)
        return;
    c->held_size = size - position;
    c->held = grown(c->held, &c->held_space, c->held_size, 1);
    memcpy(c->held, scratch + position, c->held_size);
}

static void flood(struct connection *c)
{
    for (int i = 0; i < 100 && c->waiting_size == 0; i++)
        put_frame(c, WS_TEXT, opt.flood, strlen(opt.flood));
}

// Wait for at most `nanoseconds_left`, and handle what is there.
static void turn(uint64_t nanoseconds_left)
{
    static struct epoll_event events[EVENTS];
    struct timespec wait = {(time_t)(nanoseconds_left / SECOND), (long)(nanoseconds_left % SECOND)};
    int count = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state == CONNECTING) {
            ask_for_upgrade(c);
            continue;
        }
        if (c->state != CLOSED && events[i].events & EPOLLOUT && c->waiting_size)
            flush_waiting(c);
        if (c->state == OPEN && c->is_flooder && measure_from && events[i].events & EPOLLOUT)
            flood(c);
        if (c->state != CLOSED && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            take(c);
    }
    if (flood_again_at && now() > flood_again_at) {
        flood_again_at = 0;
        for (int i = 0; i < connection_count; i++)
            if (connections[i].is_flooder)
                begin(&connections[i]);
    }
}

static void let_flood(void)
{
    for (int i = 0; i < connection_count; i++)
        if (connections[i].is_flooder && connections[i].state == OPEN)
            watch(&connections[i], EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

// --- what is sent

// Send the room's next message. False when nobody is left who could.
static int send_message(struct room *room)
{
    static char text[65536];
    const char *hole = strstr(opt.frame, "{n}");
    struct connection *sender = NULL;
    for (int i = 0; i < room->sender_count && sender == NULL; i++) {
        struct connection *candidate = room->senders[(room->sent + (uint64_t)i) % (uint64_t)room->sender_count];
        sender = candidate->state == OPEN ? candidate : NULL;
    }
    if (sender == NULL)
        return 0;
    room->sent_at = grown(room->sent_at, &room->sent_space, room->sent + 1, sizeof *room->sent_at);
    room->sent_at[room->sent] = now();
    if (room->sent * (uint64_t)room->readers == room->delivered + room->given_up)
        room->progress_at = room->sent_at[room->sent];
    int length = hole == NULL ? snprintf(text, sizeof text, "%s", opt.frame)
                              : snprintf(text, sizeof text, "%.*s%llu%s", (int)(hole - opt.frame), opt.frame,
                                         (unsigned long long)room->sent, hole + 3);
    room->sent++;
    put_frame(sender, WS_TEXT, text, (size_t)length);
    return 1;
}

// Count a room that has waited too long for deliveries; in a closed loop stop waiting for them.
static void look_for_stalls(uint64_t at)
{
    for (int i = 0; i < room_count; i++) {
        struct room *room = &rooms[i];
        uint64_t due = room->sent * (uint64_t)room->readers, have = room->delivered + room->given_up;
        if (have >= due || at - room->progress_at < STALL)
            continue;
        seen.stalls++;
        room->progress_at = at;
        if (opt.window)
            room->given_up += due - have;
    }
}

// Send what the windows allow. Returns whether anything was sent.
static int fill_windows(void)
{
    int any = 0;
    for (int i = 0; i < room_count; i++) {
        struct room *room = &rooms[i];
        uint64_t done = (room->delivered + room->given_up) / (uint64_t)(room->readers ? room->readers : 1);
        while (room->sent < done + (uint64_t)opt.window && send_message(room))
            any = 1;
    }
    return any;
}

// Send what is due by the clock. Returns when the next message is.
static uint64_t keep_rate(uint64_t started, uint64_t *count)
{
    double period = 1e9 / (opt.rate * room_count);
    for (;;) {
        uint64_t due = started + (uint64_t)((double)*count * period), at = now();
        if (due > at)
            return due;
        send_message(&rooms[*count % (uint64_t)room_count]);
        if (is_measured(at))
            histogram_add(&seen.lateness, (at - due) / 1000);
        (*count)++;
    }
}

// --- phases

static void say(const char *word)
{
    printf("%s\n", word);
    fflush(stdout);
}

static double own_cpu(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void turn_for(double seconds)
{
    uint64_t until = now() + nanoseconds(seconds);
    for (uint64_t at = now(); at < until; at = now())
        turn(until - at);
}

static double open_all(void)
{
    uint64_t began_at = now(), until = began_at + nanoseconds(opt.open_within);
    for (int pass = 0; pass < OPENING_PASSES && open_count < connection_count && now() < until; pass++) {
        int next = 0;
        while (now() < until && (next < connection_count || underway > 0)) {
            for (; next < connection_count && underway < opt.concurrency; next++)
                if (connections[next].state == IDLE || connections[next].state == CLOSED)
                    begin(&connections[next]);
            turn(SECOND / 100);
        }
    }
    return seconds_between(began_at, now());
}

static void wait_for_go(void)
{
    char line[64];
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    uint64_t until = now() + GO_WITHIN * SECOND;
    while (poll(&input, 1, 0) == 0) {
        if (now() > until)
            exit(1);
        turn(SECOND / 50);
    }
    if (fgets(line, sizeof line, stdin) == NULL)
        exit(1);
}

// From here on, who is open must receive everything that is sent.
static void count_readers(void)
{
    for (int i = 0; i < connection_count; i++) {
        struct connection *c = &connections[i];
        rooms[c->room].readers += c->state == OPEN && !c->is_slow && !c->is_flooder;
    }
}

// Send for as long as wished. Returns the CPU time used while it was measured.
static double run(void)
{
    uint64_t started = now(), from = started + nanoseconds(opt.warm), until = from + nanoseconds(opt.seconds);
    uint64_t count = 0, stalls_at = started, at;
    double cpu = 0;
    count_readers();
    while ((at = now()) < until) {
        if (measure_from == 0 && at >= from) {
            say("start");
            cpu = own_cpu();
            measure_from = now();
            until = measure_from + nanoseconds(opt.seconds);
            let_flood();
        }
        if (at - stalls_at > SECOND / 10)
            look_for_stalls(stalls_at = at);
        if (opt.window) {
            turn(fill_windows() ? 0 : SECOND / 100);
        } else {
            uint64_t next = keep_rate(started, &count), after = now();
            turn(next > after ? next - after : 0);
        }
    }
    measure_until = now();
    say("end");
    return own_cpu() - cpu;
}

static uint64_t missing(void)
{
    uint64_t count = 0;
    for (int i = 0; i < room_count; i++) {
        uint64_t due = rooms[i].sent * (uint64_t)rooms[i].readers;
        count += due > rooms[i].delivered ? due - rooms[i].delivered : 0;
    }
    return count;
}

// Wait for what is missing, as long as some of it still comes.
static void drain(void)
{
    uint64_t until = now() + nanoseconds(opt.drain_within), progress_at = now(), before = missing(), left;
    for (uint64_t at = now(); at < until && (left = missing()) > 0; at = now()) {
        if (left < before)
            before = left, progress_at = at;
        if (at - progress_at > nanoseconds(opt.drain))
            break;
        turn(SECOND / 50);
    }
}

// --- the report

static void print_times(const char *name, const struct histogram *times)
{
    printf("\"%s_p50_ms\":%.3f,\"%s_p99_ms\":%.3f,\"%s_max_ms\":%.3f,", name, histogram_quantile(times, 0.5), name,
           histogram_quantile(times, 0.99), name, (double)times->largest / 1000.0);
}

static void print_closes(void)
{
    printf("\"closes\":{");
    for (int i = 0; i < CLOSE_KINDS && seen.closes[i].count; i++)
        printf("%s\"%d\":%llu", i ? "," : "", seen.closes[i].code, (unsigned long long)seen.closes[i].count);
    printf("},");
}

static void report(double open_seconds, double cpu, uint64_t open_at_end)
{
    double seconds = seconds_between(measure_from, measure_until);
    uint64_t sent = 0;
    for (int i = 0; i < room_count; i++)
        sent += rooms[i].sent;
    print_times("latency", &seen.latency);
    print_times("ack", &seen.ack_latency);
    print_times("late", &seen.lateness);
    print_closes();
    printf("\"connections\":%d,\"rooms\":%d,\"open_at_end\":%llu,\"refused\":%llu,\"open_seconds\":%.3f,",
           connection_count, room_count, (unsigned long long)open_at_end, (unsigned long long)seen.refused,
           open_seconds);
    printf("\"seconds\":%.4f,\"sent\":%llu,\"delivered\":%llu,\"bytes\":%llu,\"compressed\":%llu,", seconds,
           (unsigned long long)sent, (unsigned long long)seen.delivered, (unsigned long long)seen.bytes,
           (unsigned long long)seen.compressed);
    printf("\"missing\":%llu,\"unexpected\":%llu,\"stalls\":%llu,\"acks\":%llu,\"errors\":%llu,\"client_cpu\":%.4f}\n",
           (unsigned long long)missing(), (unsigned long long)seen.unexpected, (unsigned long long)seen.stalls,
           (unsigned long long)seen.acks, (unsigned long long)seen.errors, cpu);
}

static void run_rooms(void)
{
    double open_seconds = open_all();
    turn_for(opt.settle);
    printf("ready %d %.3f\n", open_count, open_seconds);
    fflush(stdout);
    wait_for_go();
    double cpu = run();
    uint64_t open_at_end = (uint64_t)open_count;
    drain();
    printf("{");
    report(open_seconds, cpu, open_at_end);
}

// Hang up without a word: the port is free again at once.
static void hang_up(struct connection *c)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(c->fd);
    open_count--;
    c->state = IDLE;
}

static void run_handshakes(void)
{
    int *slots = calloc((size_t)opt.concurrency, sizeof *slots), next = 0, is_over = 0;
    uint64_t started = now(), opened_before = 0, refused_before = 0;
    double cpu = 0;
    for (int i = 0; i < opt.concurrency; i++)
        begin(&connections[slots[i] = next++]);
    while (!is_over) {
        turn(SECOND / 100);
        uint64_t at = now();
        if (measure_from == 0 && at - started > nanoseconds(opt.warm)) {
            say("start");
            cpu = own_cpu(), measure_from = now(), opened_before = seen.opened, refused_before = seen.refused;
        }
        is_over = measure_from && at > measure_from && at - measure_from > nanoseconds(opt.seconds);
        for (int i = 0; i < opt.concurrency && !is_over; i++) {
            struct connection *c = &connections[slots[i]];
            if (c->state != OPEN && c->state != CLOSED)
                continue;
            if (c->state == OPEN) {
                if (measure_from)
                    histogram_add(&seen.latency, (at - c->began_at) / 1000);
                hang_up(c);
            }
            slots[i] = next++ % connection_count;
            begin(&connections[slots[i]]);
        }
    }
    measure_until = now();
    say("end");
    printf("{\"handshakes\":%llu,\"handshakes_refused\":%llu,", (unsigned long long)(seen.opened - opened_before),
           (unsigned long long)(seen.refused - refused_before));
    report(0, own_cpu() - cpu, 0);
    free(slots);
}

// --- the beginning

static void read_targets(void)
{
    char *line = NULL, *rest;
    size_t space = 0, connection_space = 0;
    FILE *file = fopen(opt.targets, "r");
    if (file == NULL)
        die(opt.targets);
    while (getline(&line, &space, file) > 0) {
        char *room = strtok_r(line, " \n", &rest), *path = strtok_r(NULL, " \n", &rest);
        char *token = strtok_r(NULL, " \n", &rest);
        if (room == NULL || path == NULL)
            continue;
        connections = grown(connections, &connection_space, (size_t)connection_count + 1, sizeof *connections);
        struct connection *c = &connections[connection_count++];
        *c = (struct connection){.room = atoi(room), .path = strdup(path), .token = token ? strdup(token) : NULL};
        c->held = malloc(c->held_space = 64);
        if (c->room >= room_count)
            room_count = c->room + 1;
    }
    free(line);
    fclose(file);
}

// Say who sends, who is slow, who floods: senders come first in their room, the slow last of all.
static void give_roles(void)
{
    int has_flooder = 0;
    rooms = calloc((size_t)room_count, sizeof *rooms);
    for (int i = 0; i < connection_count; i++) {
        struct connection *c = &connections[i];
        struct room *room = &rooms[c->room];
        c->is_slow = i >= connection_count - opt.slow;
        if (room->senders == NULL)
            room->senders = calloc((size_t)opt.senders, sizeof *room->senders);
        if (room->sender_count < opt.senders) {
            room->senders[room->sender_count++] = c;
        } else if (opt.flood && !has_flooder && !c->is_slow) {
            c->is_flooder = has_flooder = 1;
        }
    }
}

static void read_options(int count, char **words)
{
    static const struct option known[] = {
        {"port", 1, 0, 'p'},     {"targets", 1, 0, 't'},     {"frame", 1, 0, 'f'},    {"marker", 1, 0, 'm'},
        {"opened-by", 1, 0, 'o'}, {"window", 1, 0, 'w'},      {"rate", 1, 0, 'r'},     {"senders", 1, 0, 'n'},
        {"seconds", 1, 0, 's'},  {"warm", 1, 0, 'W'},        {"settle", 1, 0, 'S'},   {"drain", 1, 0, 'D'},
        {"concurrency", 1, 0, 'c'}, {"deflate", 0, 0, 'z'},  {"slow", 1, 0, 'l'},     {"flood", 1, 0, 'F'},
        {"handshakes", 0, 0, 'h'}, {"socketio", 0, 0, 'i'},  {"open-within", 1, 0, 'O'}, {0},
    };
    for (int which; (which = getopt_long(count, words, "", known, NULL)) != -1;)
        switch (which) {
        case 'p': opt.port = atoi(optarg); break;
        case 't': opt.targets = optarg; break;
        case 'f': opt.frame = optarg; break;
        case 'm': opt.marker = optarg; break;
        case 'o': opt.opened_by = optarg; break;
        case 'w': opt.window = atoi(optarg); break;
        case 'r': opt.rate = atof(optarg); break;
        case 'n': opt.senders = atoi(optarg); break;
        case 's': opt.seconds = atof(optarg); break;
        case 'W': opt.warm = atof(optarg); break;
        case 'S': opt.settle = atof(optarg); break;
        case 'D': opt.drain = atof(optarg); break;
        case 'c': opt.concurrency = atoi(optarg); break;
        case 'z': opt.deflate = 1; break;
        case 'l': opt.slow = atoi(optarg); break;
        case 'F': opt.flood = optarg; break;
        case 'h': opt.handshakes = 1; break;
        case 'i': opt.socketio = 1; break;
        case 'O': opt.open_within = atof(optarg); break;
        default: exit(2);
        }
    int sends = opt.frame && opt.marker && (opt.window > 0) != (opt.rate > 0);
    if (!opt.port || !opt.targets || !(sends || opt.handshakes) || (opt.socketio && !opt.opened_by)) {
        fprintf(stderr, "see the head of client.c for how it is used\n");
        exit(2);
    }
}

int main(int count, char **words)
{
    signal(SIGPIPE, SIG_IGN);
    read_options(count, words);
    read_targets();
    give_roles();
    epoll = epoll_create1(0);
    if (opt.handshakes && connection_count <= opt.concurrency) {
        fprintf(stderr, "handshakes need more targets than --concurrency\n");
        return 2;
    }
    if (opt.handshakes)
        run_handshakes();
    else
        run_rooms();
    return 0;
}
