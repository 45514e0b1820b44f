/*
 * Encoder and decoder of the wire protocol; see wire.h. Each limit is checked before a byte behind it is looked at.
 */
#include "wire.h"

#include <string.h>

void psg_put_u16(unsigned char *to, uint16_t value)
{
    to[0] = (unsigned char)(value >> 8);
    to[1] = (unsigned char)value;
}

void psg_put_u32(unsigned char *to, uint32_t value)
{
    to[0] = (unsigned char)(value >> 24);
    to[1] = (unsigned char)(value >> 16);
    to[2] = (unsigned char)(value >> 8);
    to[3] = (unsigned char)value;
}

void psg_put_u64(unsigned char *to, uint64_t value)
{
    psg_put_u32(to, (uint32_t)(value >> 32));
    psg_put_u32(to + 4, (uint32_t)value);
}

uint16_t psg_get_u16(const unsigned char *from)
{
    return (uint16_t)((from[0] << 8) | from[1]);
}

uint32_t psg_get_u32(const unsigned char *from)
{
    return ((uint32_t)from[0] << 24) | ((uint32_t)from[1] << 16) | ((uint32_t)from[2] << 8) | from[3];
}

uint64_t psg_fnv1a(const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t i;

    for (i = 0; i < length; i++) {
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

void psg_frame_encode(unsigned char *to, uint8_t type, uint8_t flags, uint32_t length)
{
    to[0] = type;
    to[1] = flags;
    to[2] = 0;
    to[3] = 0;
    psg_put_u32(to + 4, length);
}

void psg_hello_encode(unsigned char *to, uint32_t generation, const unsigned char table_hash[8],
                      const unsigned char secret[32])
{
    psg_frame_encode(to, PSG_HELLO, 0, PSG_HELLO_SIZE - PSG_FRAME_HEADER_SIZE);
    memcpy(to + 8, "PSGWIRE1", 8);
    psg_put_u16(to + 16, PSG_WIRE_VERSION);
    psg_put_u16(to + 18, 0);
    psg_put_u32(to + 20, generation);
    memcpy(to + 24, table_hash, 8);
    memcpy(to + 32, secret, 32);
}

void psg_request_encode(unsigned char *to, uint8_t flags, const psg_request_facts *facts)
{
    psg_frame_encode(to, PSG_REQUEST, flags,
                     PSG_REQUEST_FACTS_SIZE + facts->settings_length + facts->header_length);
    psg_put_u64(to + 8, facts->exchange_id);
    psg_put_u64(to + 16, facts->settings_hash);
    psg_put_u64(to + 24, facts->content_length);
    psg_put_u32(to + 32, facts->silence_timeout_ms);
    psg_put_u32(to + 36, facts->settings_length);
    psg_put_u32(to + 40, facts->header_length);
}

void psg_setting_encode(unsigned char *to, uint8_t tag, uint8_t flags, uint16_t id, uint32_t length)
{
    to[0] = tag;
    to[1] = flags;
    psg_put_u16(to + 2, id);
    psg_put_u32(to + 4, length);
}

/* Longest payload that a frame of the core may have; -1 for a type that the core never sends. */
static int64_t limit_of(uint8_t type)
{
    switch (type) {
    case PSG_HEAD:
    case PSG_INTERIM:
        return PSG_MAX_HEAD;
    case PSG_DATA:
        return PSG_MAX_BODY;
    case PSG_ACCEPTED:
    case PSG_END:
        return 0;
    case PSG_ABORT:
    case PSG_REJECT:
        return PSG_MAX_SMALL;
    default:
        return -1;
    }
}

psg_wire_result psg_frame_decode(const unsigned char *bytes, size_t available, psg_frame *frame)
{
    int64_t limit;

    if (available < PSG_FRAME_HEADER_SIZE) {
        return PSG_WIRE_MORE;
    }
    frame->type = bytes[0];
    frame->flags = bytes[1];
    frame->length = psg_get_u32(bytes + 4);
    limit = limit_of(frame->type);
    if (limit < 0 || bytes[2] != 0 || bytes[3] != 0 || (int64_t)frame->length > limit) {
        return PSG_WIRE_BAD;
    }
    if (frame->type == PSG_DATA && frame->length == 0) {
        return PSG_WIRE_BAD;
    }
    return PSG_WIRE_OK;
}

/* tchar of RFC 9110 5.6.2, one bit for each character of 0..127. */
static int is_token_char(unsigned char c)
{
    static const uint32_t bits[4] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};

    return c < 128 && ((bits[c >> 5] >> (c & 31)) & 1) != 0;
}

int psg_is_token(const char *text, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++) {
        if (!is_token_char((unsigned char)text[i])) {
            return 0;
        }
    }
    return length > 0;
}

/* Visible characters, space, tab and obs-text: nothing that could end a line or a C string. */
static int is_field_text(const unsigned char *text, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++) {
        if ((text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f) {
            return 0;
        }
    }
    return 1;
}

static psg_wire_result check_fields(const psg_head *head)
{
    const unsigned char *at = head->next;
    unsigned i;

    for (i = 0; i < head->fields; i++) {
        size_t left = (size_t)(head->end - at);
        size_t name, value;

        if (left < 4) {
            return PSG_WIRE_BAD;
        }
        name = psg_get_u16(at);
        value = psg_get_u16(at + 2);
        if (left - 4 < name + value) {
            return PSG_WIRE_BAD;
        }
        at += 4;
        if (!psg_is_token((const char *)at, name) || !is_field_text(at + name, value)) {
            return PSG_WIRE_BAD;
        }
        at += name + value;
    }
    return at == head->end ? PSG_WIRE_OK : PSG_WIRE_BAD;
}

psg_wire_result psg_head_parse(const unsigned char *payload, size_t length, int interim, psg_head *head)
{
    if (length < 6) {
        return PSG_WIRE_BAD;
    }
    head->status = psg_get_u16(payload);
    head->reason_length = psg_get_u16(payload + 2);
    if (length - 6 < head->reason_length) {
        return PSG_WIRE_BAD;
    }
    head->reason = (const char *)payload + 4;
    head->fields = psg_get_u16(payload + 4 + head->reason_length);
    head->next = payload + 6 + head->reason_length;
    head->end = payload + length;
    if (!is_field_text(payload + 4, head->reason_length)) {
        return PSG_WIRE_BAD;
    }
    if (interim ? (head->status < 100 || head->status > 199 || head->status == 101)
                : (head->status != 101 && (head->status < 200 || head->status > 999))) {
        return PSG_WIRE_BAD;
    }
    return check_fields(head);
}

int psg_head_next(psg_head *head, psg_field *field)
{
    if (head->fields == 0) {
        return 0;
    }
    head->fields--;
    field->name_length = psg_get_u16(head->next);
    field->value_length = psg_get_u16(head->next + 2);
    field->name = (const char *)head->next + 4;
    field->value = field->name + field->name_length;
    head->next += 4 + field->name_length + field->value_length;
    return 1;
}

psg_wire_result psg_abort_parse(const unsigned char *payload, size_t length, psg_abort *abort)
{
    size_t code;

    memset(abort->code, 0, sizeof abort->code);
    if (length < 4) {
        return PSG_WIRE_BAD;
    }
    abort->status = psg_get_u16(payload);
    code = psg_get_u16(payload + 2);
    if (length != 4 + code || code >= sizeof abort->code || abort->status < 400 || abort->status > 599) {
        return PSG_WIRE_BAD;
    }
    if (code > 0 && !psg_is_token((const char *)payload + 4, code)) {
        return PSG_WIRE_BAD;
    }
    memcpy(abort->code, payload + 4, code);
    return PSG_WIRE_OK;
}
