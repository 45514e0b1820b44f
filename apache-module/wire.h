/*
 * The shim's end of the wire protocol (core/wire/PROTOCOL.md): encoding of what the shim sends, decoding and checking
 * of what the core sends. Pure C99 on memory: no httpd header, no I/O, no allocation, so that it can be tested and
 * fuzzed alone. Called by connect.c, request_head.c, handler.c, response.c and tunnel.c.
 */
#ifndef PSG_WIRE_H
#define PSG_WIRE_H

#include <stddef.h>
#include <stdint.h>

enum psg_frame_type {
    PSG_HELLO = 0x01,
    PSG_REQUEST = 0x02,
    PSG_BODY = 0x03,
    PSG_BODY_END = 0x04,
    PSG_CANCEL = 0x05,
    PSG_ACCEPTED = 0x81,
    PSG_HEAD = 0x82,
    PSG_INTERIM = 0x83,
    PSG_DATA = 0x84,
    PSG_END = 0x85,
    PSG_ABORT = 0x86,
    PSG_REJECT = 0x87
};

enum psg_request_flag {
    PSG_REQUEST_NO_BODY = 0x01,
    PSG_REQUEST_SETTINGS_CACHED = 0x02,
    PSG_REQUEST_LENGTH_KNOWN = 0x04,
    PSG_REQUEST_TLS = 0x08,
    PSG_REQUEST_UPGRADE = 0x10,
    PSG_REQUEST_HEAD_METHOD = 0x20,
    PSG_REQUEST_REPLAYABLE = 0x40
};

enum psg_cancel_reason {
    PSG_CANCEL_CLIENT_GONE = 1,
    PSG_CANCEL_BODY_BROKEN = 2,
    PSG_CANCEL_UNWANTED = 3,
    PSG_CANCEL_TIMEOUT = 4
};

enum psg_setting_tag {
    PSG_SETTING_DIRECTIVE = 1,
    PSG_SETTING_ENV = 2,
    PSG_SETTING_APP_ROOT = 3,
    PSG_SETTING_BASE_URI = 4,
    PSG_SETTING_DOCUMENT_ROOT = 5,
    PSG_SETTING_FOUND = 6,
    PSG_SETTING_STARTUP_FILE = 7,
    PSG_SETTING_SERVER_NAME = 8
};

#define PSG_FLAG_HEAD_NO_BODY 0x01
#define PSG_FLAG_DATA_FLUSH 0x01
#define PSG_SETTING_VHOST_LEVEL 0x01

#define PSG_WIRE_VERSION 1
#define PSG_FRAME_HEADER_SIZE 8
#define PSG_HELLO_SIZE (PSG_FRAME_HEADER_SIZE + 56)
#define PSG_REQUEST_FACTS_SIZE 36
#define PSG_REQUEST_PREFIX_SIZE (PSG_FRAME_HEADER_SIZE + PSG_REQUEST_FACTS_SIZE)
#define PSG_SETTING_HEADER_SIZE 8
#define PSG_MAX_REQUEST 262144u
#define PSG_MAX_BODY 65536u
#define PSG_MAX_HEAD 131072u
#define PSG_MAX_SMALL 1024u
#define PSG_MAX_SETTINGS_PER_CONNECTION 64
#define PSG_CODE_SIZE 16

typedef enum { PSG_WIRE_OK, PSG_WIRE_MORE, PSG_WIRE_BAD } psg_wire_result;

typedef struct {
    uint8_t type;
    uint8_t flags;
    uint32_t length;
} psg_frame;

typedef struct {
    uint64_t exchange_id;
    uint64_t settings_hash;
    uint64_t content_length;
    uint32_t silence_timeout_ms;
    uint32_t settings_length;
    uint32_t header_length;
} psg_request_facts;

typedef struct {
    const char *name;
    size_t name_length;
    const char *value;
    size_t value_length;
} psg_field;

/* A parsed HEAD or INTERIM; points into the payload, owns nothing. */
typedef struct {
    unsigned status;
    const char *reason;
    size_t reason_length;
    unsigned fields;
    const unsigned char *next;
    const unsigned char *end;
} psg_head;

typedef struct {
    unsigned status;
    char code[PSG_CODE_SIZE];
} psg_abort;

void psg_put_u16(unsigned char *to, uint16_t value);
void psg_put_u32(unsigned char *to, uint32_t value);
void psg_put_u64(unsigned char *to, uint64_t value);
uint16_t psg_get_u16(const unsigned char *from);
uint32_t psg_get_u32(const unsigned char *from);

uint64_t psg_fnv1a(const void *bytes, size_t length);

/* Writes PSG_FRAME_HEADER_SIZE bytes. */
void psg_frame_encode(unsigned char *to, uint8_t type, uint8_t flags, uint32_t length);

/* Writes PSG_HELLO_SIZE bytes. */
void psg_hello_encode(unsigned char *to, uint32_t generation, const unsigned char table_hash[8],
                      const unsigned char secret[32]);

/* Writes PSG_REQUEST_PREFIX_SIZE bytes: frame header and facts; settings and header block follow it. */
void psg_request_encode(unsigned char *to, uint8_t flags, const psg_request_facts *facts);

/* Writes PSG_SETTING_HEADER_SIZE bytes: the header of one entry of the settings block. */
void psg_setting_encode(unsigned char *to, uint8_t tag, uint8_t flags, uint16_t id, uint32_t length);

/* Decodes the header of a frame that the core sent. BAD: unknown type, reserved bytes set, or length over the limit. */
psg_wire_result psg_frame_decode(const unsigned char *bytes, size_t available, psg_frame *frame);

/* Checks a whole HEAD or INTERIM payload; afterwards psg_head_next cannot fail. OK or BAD. */
psg_wire_result psg_head_parse(const unsigned char *payload, size_t length, int interim, psg_head *head);

/* The next field; 0 when there is none left. */
int psg_head_next(psg_head *head, psg_field *field);

/* ABORT and REJECT. A status outside 400..599 is BAD. */
psg_wire_result psg_abort_parse(const unsigned char *payload, size_t length, psg_abort *abort);

/* 1 when every byte is a token character of RFC 9110 and there is at least one. */
int psg_is_token(const char *text, size_t length);

#endif
