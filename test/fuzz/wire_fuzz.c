/*
 * libFuzzer target for the decoder of apache-module/wire.c: any bytes as a stream of frames of the core. Reads every
 * byte that the decoder declares good, so that AddressSanitizer sees a wrong bound. `make -C apache-module fuzz`.
 */
#include <stdlib.h>
#include <string.h>

#include "wire.h"

static unsigned sum;

static void touch(const char *bytes, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++) {
        sum += (unsigned char)bytes[i];
        if (bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '\0') {
            abort();
        }
    }
}

static void take_head(const unsigned char *payload, size_t length, int interim)
{
    psg_field field;
    psg_head head;

    if (psg_head_parse(payload, length, interim, &head) != PSG_WIRE_OK) {
        return;
    }
    touch(head.reason, head.reason_length);
    while (psg_head_next(&head, &field)) {
        if (!psg_is_token(field.name, field.name_length)) {
            abort();
        }
        touch(field.value, field.value_length);
    }
}

static void take(const psg_frame *frame, const unsigned char *payload)
{
    psg_abort ended;

    if (frame->type == PSG_HEAD || frame->type == PSG_INTERIM) {
        take_head(payload, frame->length, frame->type == PSG_INTERIM);
    }
    else if (frame->type == PSG_ABORT || frame->type == PSG_REJECT) {
        if (psg_abort_parse(payload, frame->length, &ended) == PSG_WIRE_OK) {
            touch(ended.code, strlen(ended.code));
        }
    }
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    psg_frame frame;

    while (psg_frame_decode(data, size, &frame) == PSG_WIRE_OK) {
        unsigned char *payload;

        data += PSG_FRAME_HEADER_SIZE;
        size -= PSG_FRAME_HEADER_SIZE;
        if (size < frame.length) {
            break;
        }
        /* A copy of the exact length: the next frame must not hide a read beyond the end. */
        payload = malloc(frame.length > 0 ? frame.length : 1);
        memcpy(payload, data, frame.length);
        take(&frame, payload);
        free(payload);
        data += frame.length;
        size -= frame.length;
    }
    return 0;
}
