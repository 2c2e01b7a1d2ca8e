// URLs, with libcurl's parser: the one that will also make the request, so that the two cannot disagree on the host.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "http/http_int.h"

#include <stdio.h>
#include <stdlib.h>

static void free_url(CURLU **u)
{
    curl_url_cleanup(*u);
}

static void free_text(char **p)
{
    curl_free(*p);
}

static int bad(struct st_sv text, const char *what, struct st_err *err)
{
    size_t secret = st_sv_find(text, '?'); // a query may be a signature
    return st_err_set(err, ST_E_INPUT, "%s: '" ST_SV_FMT "'", what,
                      ST_SV_ARG(st_sv_sub(text, 0, ST_MIN(secret, (size_t)200))));
}

static int read_origin(CURLU *u, struct st_sv text, struct st_http_origin *ret, struct st_err *err)
{
    ST_AUTO(free_text) char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL, *password = NULL;
    uint64_t number;
    if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) || curl_url_get(u, CURLUPART_HOST, &host, 0) ||
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) || strlen(host) == 0)
        return bad(text, "not a complete URL", err);
    if (curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_NO_USER ||
        curl_url_get(u, CURLUPART_PASSWORD, &password, 0) != CURLUE_NO_PASSWORD)
        return st_err_set(err, ST_E_INPUT, "a URL with user or password for %.200s", host);
    ret->tls = strcmp(scheme, "https") == 0;
    if (!ret->tls && strcmp(scheme, "http") != 0)
        return bad(text, "neither http:// nor https://", err);
    if (strlen(host) >= sizeof ret->host || !st_sv_u64(st_sv_of(port), 10, &number) || number == 0 || number > 65535)
        return bad(text, "bad host or port in a URL", err);
    for (size_t i = 0;; i++) {
        char c = host[i];
        ret->host[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        if (!c)
            break;
    }
    ret->port = (unsigned)number;
    return 0;
}

int st_http_url_read(const char *base, struct st_sv text, char ret_url[static ST_HTTP_URL_MAX],
                     struct st_http_origin *ret, struct st_err *err)
{
    char part[ST_HTTP_URL_MAX];
    ST_AUTO(free_url) CURLU *u = curl_url();
    ST_AUTO(free_text) char *whole = NULL;
    if (!u)
        return st_err_nomem(err);
    if (text.len == 0 || text.len >= sizeof part)
        return st_err_set(err, ST_E_INPUT, "a URL is empty or longer than %d bytes", ST_HTTP_URL_MAX);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] <= 0x20 || text.ptr[i] == 0x7f)
            return bad(text, "a blank or control character in a URL", err);
    memcpy(part, text.ptr, text.len);
    part[text.len] = '\0';
    if ((base && curl_url_set(u, CURLUPART_URL, base, 0)) ||
        curl_url_set(u, CURLUPART_URL, part, CURLU_NON_SUPPORT_SCHEME) || curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0))
        return bad(text, "not a URL", err);
    if (read_origin(u, text, ret, err))
        return -1;
    if (curl_url_get(u, CURLUPART_URL, &whole, 0) || strlen(whole) >= ST_HTTP_URL_MAX)
        return bad(text, "not a URL", err);
    memcpy(ret_url, whole, strlen(whole) + 1);
    return 0;
}

bool st_http_same_origin(const struct st_http_origin *a, const struct st_http_origin *b)
{
    return a->tls == b->tls && a->port == b->port && strcmp(a->host, b->host) == 0;
}
