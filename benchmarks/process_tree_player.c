/* Plays one process tree: burns CPU time, forks, execs and leaves orphans as it is told; prints what all used.
 *
 *     process_tree_player PLAN
 *
 * PLAN holds nine numbers a process, each followed by its children: microseconds to burn; order (0: children are
 * waited for one by one, 1: together, 2: never); whether children come through a process that ends at once;
 * whether SIGCHLD is ignored; whether a session is begun; whether it execs itself half way; microseconds between
 * forks; threads; number of children. Every process writes its CPU time, as it knows it itself at its end, into
 * one pipe; the first one waits until all have closed that, and prints {"processes": ..., "cpu_s": ...}.
 * In C, since leaving a Python process costs a millisecond that it cannot report any more.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BURN, ORDER, DOUBLE, IGNORE, SETSID, EXEC, PAUSE, THREADS, CHILDREN, FIELDS };

static long plan[4096], end_ns;
static int count, told;
static char *program;

static long used_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static void *work(void *unused) {
    while (used_ns() < end_ns)
        for (volatile int turn = 0; turn < 20000; turn++) {}
    return unused;
}

static void burn(long us, int threads) {
    pthread_t others[8];
    end_ns = used_ns() + us * 1000;
    for (int other = 1; other < threads; other++) pthread_create(&others[other], NULL, work, NULL);
    work(NULL);
    for (int other = 1; other < threads; other++) pthread_join(others[other], NULL);
}

static _Noreturn void end(void) {
    long ns = used_ns();
    if (write(told, &ns, sizeof ns) != sizeof ns) abort();
    _exit(0);
}

static void wait_for_all(void) {
    while (wait(NULL) > 0) {}
}

static int size(int node) {
    int place = node + FIELDS;
    for (long child = 0; child < plan[node + CHILDREN]; child++) place += size(place);
    return place - node;
}

static _Noreturn void again(int node) {
    static char text[65536];
    char descriptor[16];
    int length = 0;
    for (int place = node; place < node + size(node); place++)
        length += snprintf(text + length, sizeof text - length, "%ld ", plan[place]);
    snprintf(descriptor, sizeof descriptor, "%d", told);
    execl(program, program, text, descriptor, NULL);
    abort();
}

static _Noreturn void play(int node) {
    if (plan[node + SETSID]) setsid();
    if (plan[node + EXEC]) {
        plan[node + EXEC] = 0;
        plan[node + BURN] /= 2;
        burn(plan[node + BURN], 1);
        again(node);
    }
    signal(SIGCHLD, plan[node + IGNORE] ? SIG_IGN : SIG_DFL);
    int place = node + FIELDS;
    for (long child = 0; child < plan[node + CHILDREN]; child++) {
        if (fork() == 0) {
            if (plan[node + DOUBLE] && fork()) end();
            play(place);
        }
        place += size(place);
        if (plan[node + ORDER] == 0) wait_for_all();
        usleep(plan[node + PAUSE]);
    }
    burn(plan[node + BURN], plan[node + THREADS]);
    if (plan[node + ORDER] != 2) wait_for_all();
    end();
}

int main(int number, char **words) {
    int ends[2];
    long ns, total_ns = 0, processes = 1;
    program = words[0];
    for (char *word = strtok(words[1], " "); word; word = strtok(NULL, " ")) plan[count++] = atol(word);
    if (number > 2) {
        told = atoi(words[2]);
        play(0);
    }
    if (pipe(ends)) return 1;
    told = ends[1];
    if (fork() == 0) {
        close(ends[0]);
        play(0);
    }
    close(ends[1]);
    for (; read(ends[0], &ns, sizeof ns) == sizeof ns; processes++) total_ns += ns;
    wait_for_all();
    printf("{\"processes\": %ld, \"cpu_s\": %.6f}\n", processes, (total_ns + used_ns()) / 1e9);
    return 0;
}
