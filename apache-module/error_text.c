/*
 * What a client reads when the module itself has to answer: the number of the condition, an id of the request (Apache's
 * own, %L of ErrorLogFormat) and one safe sentence, in the shape of the core's pages. An ErrorDocument of the
 * administrator wins. Called where a handler or hook of ours returns an error status.
 */
#include "mod_passenger.h"

#include "http_request.h"
#include "mod_core.h"

static const char *sentence_for(int status)
{
    switch (status) {
    case HTTP_SERVICE_UNAVAILABLE:
        return "The application cannot take the request at the moment. Please try again in a few seconds.";
    case HTTP_GATEWAY_TIME_OUT:
        return "The application did not answer in time.";
    case HTTP_BAD_GATEWAY:
        return "The application did not answer properly.";
    default:
        return "The application cannot be used because of a problem on the server.";
    }
}

int psg_explain(request_rec *r, int status)
{
    const char *code = apr_table_get(r->notes, PSG_ERROR_NOTE);
    const char *title;

    if (code == NULL || status < 500 || ap_response_code_string(r, ap_index_of_response(status)) != NULL) {
        return status;
    }
    if (r->log_id == NULL) {
        ap_run_generate_log_id(r->connection, r, &r->log_id);
    }
    title = ap_get_status_line(status);
    ap_custom_response(r, status,
                       apr_psprintf(r->pool,
                                    "<!DOCTYPE html>\n<html lang=\"en\"><head><title>%s</title></head>\n<body><h1>%s</h1>\n<p>%s</p>\n"
                                    "<p><small>Error <code>%s</code>, request <code>%s</code></small></p>\n</body></html>\n",
                                    title, title, sentence_for(status), code, r->log_id == NULL ? "-" : r->log_id));
    return status;
}
