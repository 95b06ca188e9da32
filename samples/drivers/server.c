/* The forking driver: a worker process takes the records from a socket, the parent asks for one after the other.  A
 * worker that dies is replaced, with its state gone, and the parent's exit status tells: 128 + signal. */
#include "answer.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t worker;

static int start(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends))
        exit(2);
    worker = fork();
    if (worker < 0)
        exit(2);
    if (worker > 0) {
        close(ends[1]);
        return ends[0];
    }
    close(ends[0]);
    char record[256], text[512];
    ssize_t n;
    while ((n = recv(ends[1], record, sizeof record - 1, 0)) > 0) {
        record[n] = 0;
        answer(record, text, sizeof text);
        if (send(ends[1], text, strlen(text), 0) < 0)
            break;
    }
    _exit(0);
}

int main(int argc, char **argv) {
    int status, died = 0;
    prepare();
    int server = start();
    for (int i = 1; i < argc; i++) {
        char text[512];
        send(server, argv[i], strlen(argv[i]) + 1, 0);
        ssize_t n = recv(server, text, sizeof text - 1, 0);
        if (n > 0) {
            text[n] = 0;
            fputs(text, stdout);
        } else {
            waitpid(worker, &status, 0);
            died = WIFSIGNALED(status) ? WTERMSIG(status) : 1;
            printf("%s: worker died of signal %d\n", argv[i], died);
            close(server);
            server = start();
        }
        fflush(stdout);
    }
    close(server);
    waitpid(worker, &status, 0);
    return died ? 128 + died : 0;
}
