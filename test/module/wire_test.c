/*
 * Unit tests of apache-module/wire.c against the shared vectors (test/wire/vectors.txt, made by the core's encoder) and
 * against damaged frames. Built with AddressSanitizer and UBSan: `make -C apache-module check`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire.h"

#define MAX_VECTORS 64

typedef struct {
    char name[64];
    unsigned char *bytes;   /* malloc'ed to the exact length, so that a read beyond it is seen */
    size_t length;
} vector;

static vector vectors[MAX_VECTORS];
static int vector_count;
static int failures;
static int checks;

static void check_at(int line, int holds, const char *rule)
{
    checks++;
    if (!holds) {
        failures++;
        fprintf(stderr, "line %d: not true: %s\n", line, rule);
    }
}
#define CHECK(condition) check_at(__LINE__, (condition), #condition)

static void load(const char *path)
{
    static char line[1 << 20];
    FILE *file = fopen(path, "r");

    if (file == NULL) {
        perror(path);
        exit(1);
    }
    while (fgets(line, sizeof line, file) != NULL && vector_count < MAX_VECTORS) {
        vector *at = &vectors[vector_count];
        char *hex = strchr(line, '\t');
        size_t i;

        if (line[0] == '#' || hex == NULL || (size_t)(hex - line) >= sizeof at->name) {
            continue;
        }
        memcpy(at->name, line, (size_t)(hex - line));
        hex++;
        at->length = strspn(hex, "0123456789abcdef") / 2;
        at->bytes = malloc(at->length > 0 ? at->length : 1);
        for (i = 0; i < at->length; i++) {
            unsigned byte;
            sscanf(hex + 2 * i, "%2x", &byte);
            at->bytes[i] = (unsigned char)byte;
        }
        vector_count++;
    }
    fclose(file);
}

static const vector *get(const char *name)
{
    int i;

    for (i = 0; i < vector_count; i++) {
        if (strcmp(vectors[i].name, name) == 0) {
            return &vectors[i];
        }
    }
    fprintf(stderr, "vector %s is missing\n", name);
    exit(1);
}

static void hello_is_encoded_as_the_core_encodes_it(void)
{
    static const unsigned char hash[8] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    const vector *expected = get("hello");
    unsigned char secret[32], bytes[PSG_HELLO_SIZE];
    unsigned char i;

    for (i = 0; i < 32; i++) {
        secret[i] = i;
    }
    psg_hello_encode(bytes, 7, hash, secret);
    CHECK(expected->length == sizeof bytes && memcmp(bytes, expected->bytes, sizeof bytes) == 0);
}

/* Takes the facts from the vector's own bytes and expects the encoder to make the same prefix of them. */
static void request_is_encoded_as_the_core_encodes_it(const char *name)
{
    const vector *expected = get(name);
    const unsigned char *at = expected->bytes;
    unsigned char bytes[PSG_REQUEST_PREFIX_SIZE];
    psg_request_facts facts = {
        .exchange_id = ((uint64_t)psg_get_u32(at + 8) << 32) | psg_get_u32(at + 12),
        .settings_hash = ((uint64_t)psg_get_u32(at + 16) << 32) | psg_get_u32(at + 20),
        .content_length = ((uint64_t)psg_get_u32(at + 24) << 32) | psg_get_u32(at + 28),
        .silence_timeout_ms = psg_get_u32(at + 32),
        .settings_length = psg_get_u32(at + 36),
        .header_length = psg_get_u32(at + 40),
    };

    psg_request_encode(bytes, at[1], &facts);
    CHECK(memcmp(bytes, at, sizeof bytes) == 0);
    CHECK(expected->length == sizeof bytes + facts.settings_length + facts.header_length);
    if (facts.settings_length > 0) {
        CHECK(psg_fnv1a(at + sizeof bytes, facts.settings_length) == facts.settings_hash);
    }
}

static void frames_without_content_are_encoded_alike(void)
{
    unsigned char bytes[PSG_FRAME_HEADER_SIZE + 1];

    psg_frame_encode(bytes, PSG_BODY_END, 0, 0);
    CHECK(memcmp(bytes, get("body-end")->bytes, PSG_FRAME_HEADER_SIZE) == 0);
    psg_frame_encode(bytes, PSG_CANCEL, 0, 1);
    bytes[PSG_FRAME_HEADER_SIZE] = PSG_CANCEL_CLIENT_GONE;
    CHECK(memcmp(bytes, get("cancel-client-gone")->bytes, sizeof bytes) == 0);
}

static void settings_entry_has_tag_flags_id_and_length(void)
{
    const unsigned char *block = get("request-get")->bytes + PSG_REQUEST_PREFIX_SIZE;
    unsigned char bytes[PSG_SETTING_HEADER_SIZE];

    psg_setting_encode(bytes, PSG_SETTING_ENV, PSG_SETTING_VHOST_LEVEL, 0, 14);
    CHECK(memcmp(bytes, block, sizeof bytes) == 0);
}

static psg_frame frame_of(const char *name)
{
    const vector *from = get(name);
    psg_frame frame = {0, 0, 0};

    CHECK(psg_frame_decode(from->bytes, from->length, &frame) == PSG_WIRE_OK);
    CHECK(from->length == PSG_FRAME_HEADER_SIZE + frame.length);
    return frame;
}

static void every_frame_of_the_core_is_decoded(void)
{
    CHECK(frame_of("accepted").type == PSG_ACCEPTED);
    CHECK(frame_of("head").type == PSG_HEAD);
    CHECK(frame_of("interim-103").type == PSG_INTERIM);
    CHECK(frame_of("data").type == PSG_DATA);
    CHECK(frame_of("data-flush").flags == PSG_FLAG_DATA_FLUSH);
    CHECK(frame_of("end").type == PSG_END);
    CHECK(frame_of("abort").type == PSG_ABORT);
    CHECK(frame_of("reject").type == PSG_REJECT);
}

static void frames_of_the_shim_are_refused(void)
{
    static const char *const names[] = {"hello", "request-get", "body", "body-end", "cancel-timeout"};
    psg_frame frame;
    size_t i;

    for (i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(psg_frame_decode(get(names[i])->bytes, PSG_FRAME_HEADER_SIZE, &frame) == PSG_WIRE_BAD);
    }
}

static psg_wire_result decode(unsigned char type, unsigned char reserved, uint32_t length)
{
    unsigned char bytes[PSG_FRAME_HEADER_SIZE];
    psg_frame frame;

    psg_frame_encode(bytes, type, 0, length);
    bytes[3] = reserved;
    return psg_frame_decode(bytes, sizeof bytes, &frame);
}

static void limits_are_checked_before_the_payload_is_there(void)
{
    CHECK(decode(PSG_DATA, 0, PSG_MAX_BODY) == PSG_WIRE_OK);
    CHECK(decode(PSG_DATA, 0, PSG_MAX_BODY + 1) == PSG_WIRE_BAD);
    CHECK(decode(PSG_DATA, 0, 0) == PSG_WIRE_BAD);
    CHECK(decode(PSG_HEAD, 0, PSG_MAX_HEAD) == PSG_WIRE_OK);
    CHECK(decode(PSG_HEAD, 0, PSG_MAX_HEAD + 1) == PSG_WIRE_BAD);
    CHECK(decode(PSG_ABORT, 0, PSG_MAX_SMALL + 1) == PSG_WIRE_BAD);
    CHECK(decode(PSG_END, 0, 1) == PSG_WIRE_BAD);
    CHECK(decode(PSG_DATA, 0, 0xffffffffu) == PSG_WIRE_BAD);
    CHECK(decode(PSG_END, 1, 0) == PSG_WIRE_BAD);
    CHECK(decode(0x88, 0, 0) == PSG_WIRE_BAD);
}

static void an_incomplete_header_asks_for_more(void)
{
    const vector *from = get("head");
    psg_frame frame;
    size_t length;

    for (length = 0; length < PSG_FRAME_HEADER_SIZE; length++) {
        CHECK(psg_frame_decode(from->bytes, length, &frame) == PSG_WIRE_MORE);
    }
}

static void head_gives_status_reason_and_fields_in_order(void)
{
    const vector *from = get("head");
    psg_field field;
    psg_head head;

    CHECK(psg_head_parse(from->bytes + 8, from->length - 8, 0, &head) == PSG_WIRE_OK);
    CHECK(head.status == 200 && head.reason_length == 2 && memcmp(head.reason, "OK", 2) == 0);
    CHECK(psg_head_next(&head, &field) && field.name_length == 12 && memcmp(field.name, "Content-Type", 12) == 0);
    CHECK(psg_head_next(&head, &field) && field.value_length == 2 && memcmp(field.value, "12", 2) == 0);
    CHECK(psg_head_next(&head, &field));
    CHECK(!psg_head_next(&head, &field));
}

static void interim_and_final_answers_are_kept_apart(void)
{
    const vector *interim = get("interim-103"), *final = get("head"), *tunnel = get("head-tunnel");
    psg_head head;

    CHECK(psg_head_parse(interim->bytes + 8, interim->length - 8, 1, &head) == PSG_WIRE_OK && head.status == 103);
    CHECK(psg_head_parse(interim->bytes + 8, interim->length - 8, 0, &head) == PSG_WIRE_BAD);
    CHECK(psg_head_parse(final->bytes + 8, final->length - 8, 1, &head) == PSG_WIRE_BAD);
    CHECK(psg_head_parse(tunnel->bytes + 8, tunnel->length - 8, 0, &head) == PSG_WIRE_OK && head.status == 101);
    CHECK(psg_head_parse(tunnel->bytes + 8, tunnel->length - 8, 1, &head) == PSG_WIRE_BAD);
}

static void a_truncated_head_is_refused_at_every_length(void)
{
    const vector *from = get("head");
    size_t length;

    for (length = 0; length < from->length - 8; length++) {
        unsigned char *copy = malloc(length > 0 ? length : 1);
        psg_head head;

        memcpy(copy, from->bytes + 8, length);
        CHECK(psg_head_parse(copy, length, 0, &head) == PSG_WIRE_BAD);
        free(copy);
    }
}

static psg_wire_result head_with(const char *reason, size_t reason_length, const char *name, size_t name_length,
                                 const char *value, size_t value_length)
{
    unsigned char bytes[256];
    unsigned char *at = bytes;
    psg_head head;

    psg_put_u16(at, 200);
    psg_put_u16(at + 2, (uint16_t)reason_length);
    memcpy(at + 4, reason, reason_length);
    at += 4 + reason_length;
    psg_put_u16(at, 1);
    psg_put_u16(at + 2, (uint16_t)name_length);
    psg_put_u16(at + 4, (uint16_t)value_length);
    memcpy(at + 6, name, name_length);
    memcpy(at + 6 + name_length, value, value_length);
    at += 6 + name_length + value_length;
    return psg_head_parse(bytes, (size_t)(at - bytes), 0, &head);
}

static void names_are_tokens_and_values_hold_no_line_end(void)
{
    CHECK(head_with("OK", 2, "X-A", 3, "1\t2 \xc3\xa4", 6) == PSG_WIRE_OK);
    CHECK(head_with("", 0, "X", 1, "", 0) == PSG_WIRE_OK);
    CHECK(head_with("OK", 2, "", 0, "1", 1) == PSG_WIRE_BAD);
    CHECK(head_with("OK", 2, "X A", 3, "1", 1) == PSG_WIRE_BAD);
    CHECK(head_with("OK", 2, "X:", 2, "1", 1) == PSG_WIRE_BAD);
    CHECK(head_with("OK", 2, "X\xc3", 2, "1", 1) == PSG_WIRE_BAD);
    CHECK(head_with("OK", 2, "X", 1, "a\r\nb", 4) == PSG_WIRE_BAD);
    CHECK(head_with("OK", 2, "X", 1, "a\nb", 3) == PSG_WIRE_BAD);
    CHECK(head_with("OK", 2, "X", 1, "a\0b", 3) == PSG_WIRE_BAD);
    CHECK(head_with("O\rK", 3, "X", 1, "1", 1) == PSG_WIRE_BAD);
}

static void abort_gives_status_and_code(void)
{
    const vector *from = get("abort");
    unsigned char bytes[4] = {0, 200, 0, 0};
    psg_abort abort;

    CHECK(psg_abort_parse(from->bytes + 8, from->length - 8, &abort) == PSG_WIRE_OK);
    CHECK(abort.status == 502 && strcmp(abort.code, "PSG4003") == 0);
    CHECK(psg_abort_parse(from->bytes + 8, from->length - 9, &abort) == PSG_WIRE_BAD);
    CHECK(psg_abort_parse(bytes, sizeof bytes, &abort) == PSG_WIRE_BAD);
    CHECK(psg_abort_parse(bytes, 3, &abort) == PSG_WIRE_BAD);
}

static void token_characters_are_those_of_rfc_9110(void)
{
    int c;

    for (c = 0; c < 256; c++) {
        char text[1] = {(char)c};
        int expected = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
                       || (c != 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        CHECK(psg_is_token(text, 1) == expected);
    }
}

int main(int argc, char **argv)
{
    load(argc > 1 ? argv[1] : "test/wire/vectors.txt");
    hello_is_encoded_as_the_core_encodes_it();
    request_is_encoded_as_the_core_encodes_it("request-get");
    request_is_encoded_as_the_core_encodes_it("request-get-cached");
    request_is_encoded_as_the_core_encodes_it("request-post-length");
    request_is_encoded_as_the_core_encodes_it("request-post-chunked");
    request_is_encoded_as_the_core_encodes_it("request-upgrade");
    frames_without_content_are_encoded_alike();
    settings_entry_has_tag_flags_id_and_length();
    every_frame_of_the_core_is_decoded();
    frames_of_the_shim_are_refused();
    limits_are_checked_before_the_payload_is_there();
    an_incomplete_header_asks_for_more();
    head_gives_status_reason_and_fields_in_order();
    interim_and_final_answers_are_kept_apart();
    a_truncated_head_is_refused_at_every_length();
    names_are_tokens_and_values_hold_no_line_end();
    abort_gives_status_and_code();
    token_characters_are_those_of_rfc_9110();
    while (vector_count > 0) {
        free(vectors[--vector_count].bytes);
    }
    printf("wire_test: %d checks, %d failed\n", checks, failures);
    return failures == 0 ? 0 : 1;
}
