// WebSocket frames (RFC 6455 section 5.2), as far as a benchmark on loopback needs them.
#ifndef BENCH_WEBSOCKET_H
#define BENCH_WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { WS_TEXT = 0x1, WS_BINARY = 0x2, WS_CLOSE = 0x8, WS_PING = 0x9, WS_PONG = 0xA };
enum { WS_FIN = 0x80, WS_RSV1 = 0x40, WS_MASKED = 0x80, WS_LONGEST_HEADER = 14 };

struct ws_frame {
    int first; // FIN, reserved bits and opcode
    unsigned char *mask; // of a client's frame, else NULL
    char *payload;
    size_t size;
};

// Read the frame at `data`. Returns how many bytes it takes, or 0 while it is not complete.
static inline size_t ws_parse(char *data, size_t available, struct ws_frame *frame)
{
    unsigned char *bytes = (unsigned char *)data;
    if (available < 2)
        return 0;
    size_t size = bytes[1] & 127, header = 2;
    if (size == 126) {
        header = 4;
        if (available < header)
            return 0;
        size = (size_t)bytes[2] << 8 | bytes[3];
    } else if (size == 127) {
        header = 10;
        if (available < header)
            return 0;
        size = 0;
        for (int i = 2; i < 10; i++)
            size = size << 8 | bytes[i];
    }
    frame->mask = bytes[1] & WS_MASKED ? bytes + header : NULL;
    header += frame->mask ? 4 : 0;
    if (available < header || available - header < size)
        return 0;
    frame->first = bytes[0];
    frame->payload = data + header;
    frame->size = size;
    return header + size;
}

// Write the header of a frame of `size` bytes to `out`, with a mask of zeros when it is a client's. Returns its length.
static inline size_t ws_header(char *out, int opcode, size_t size, int is_masked)
{
    unsigned char *bytes = (unsigned char *)out;
    size_t length = 2;
    bytes[0] = (unsigned char)(WS_FIN | opcode);
    if (size < 126) {
        bytes[1] = (unsigned char)size;
    } else if (size < 65536) {
        bytes[1] = 126;
        bytes[2] = (unsigned char)(size >> 8);
        bytes[3] = (unsigned char)size;
        length = 4;
    } else {
        bytes[1] = 127;
        for (int i = 0; i < 8; i++)
            bytes[2 + i] = (unsigned char)(size >> (56 - 8 * i));
        length = 10;
    }
    if (is_masked) {
        bytes[1] |= WS_MASKED;
        memset(bytes + length, 0, 4);
        length += 4;
    }
    return length;
}

#endif
