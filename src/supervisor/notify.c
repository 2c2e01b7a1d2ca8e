// systemd's protocol of readiness (sd_notify(3)), without its library: text lines in a datagram.
#include "supervisor/supervisor_int.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

void st_notify(const char *fmt, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char text[400];
    va_list ap;
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof at.sun_path)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(at.sun_path, path, strlen(path));
    if (path[0] == '@') // abstract
        at.sun_path[0] = 0;
    ST_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&at,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

int64_t st_notify_watchdog_ms(void)
{
    uint64_t us, pid;
    const char *text = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    if (!text || !st_sv_u64(st_sv_of(text), 10, &us) || us < 2000)
        return 0;
    if (whose && (!st_sv_u64(st_sv_of(whose), 10, &pid) || pid != (uint64_t)getpid()))
        return 0;
    return (int64_t)(us / 2000); // twice in the time that is given
}
