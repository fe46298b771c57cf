/*
 * One thread of the client, a closed loop: it keeps its number of connections in
 * flight, and each connection sends one request, reads one response and is closed
 * with a FIN.
 *
 * Per connection: socket, setsockopt, bind, connect, epoll_ctl, write, read, close.
 * Edge-triggered, because one ADD then covers the whole life: 2 % more connections
 * than level-triggered with a MOD. With states this few it is safe: a response and a
 * FIN may share an edge, but a FIN behind the last byte asks for nothing, and one
 * before it is a read() of 0.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

/* fd < 0: the last attempt failed, the next turn tries again. */
struct connection {
	int fd;
	bool asked;
	long received;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(struct worker *w, struct connection *c, int reason)
{
	if (!w->first_errno)
		w->first_errno = reason;
	w->tally.failed++;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Sources are striped over the threads: two threads never search the ports of one address. */
static struct sockaddr_in next_source(struct worker *w)
{
	struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(w->source)};

	w->source += (uint32_t)w->plan->threads;
	if (w->source >= w->plan->first_source + (uint32_t)w->plan->sources)
		w->source = w->plan->first_source + (uint32_t)w->index;
	return source;
}

static void start(struct worker *w, struct connection *c)
{
	const struct sockaddr_in *target = &w->plan->target;
	struct sockaddr_in source = next_source(w);
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	int one = 1;

	w->tally.attempted++;
	c->asked = false;
	c->received = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	/* Without NO_PORT bind() would take the port toward all destinations; with it,
	 * connect() chooses one that is free toward this destination. */
	if (c->fd < 0 || setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) ||
	    bind(c->fd, (struct sockaddr *)&source, sizeof source) ||
	    (connect(c->fd, (const struct sockaddr *)target, sizeof *target) && errno != EINPROGRESS) ||
	    epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &event))
		fail(w, c, errno);
}

static void ask(struct worker *w, struct connection *c)
{
	ssize_t n = write(c->fd, w->plan->request, (size_t)w->plan->request_bytes);

	c->asked = true;
	if (n != w->plan->request_bytes)
		fail(w, c, n < 0 ? errno : ENOBUFS);
}

static void hear(struct worker *w, struct connection *c)
{
	static _Thread_local char buffer[65536];
	ssize_t n;

	do { /* a second time only if the buffer was full: bytes left behind make no new edge */
		n = read(c->fd, buffer, sizeof buffer);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			fail(w, c, n < 0 ? errno : ENODATA);
			return;
		}
		c->received += n;
		if (c->received >= w->plan->response_bytes) {
			close(c->fd); /* nothing unread, no SO_LINGER: a FIN */
			w->tally.ok++;
			start(w, c);
			return;
		}
	} while (n == (ssize_t)sizeof buffer);
}

static void handle(struct worker *w, struct connection *c, uint32_t events)
{
	if (events & (EPOLLERR | EPOLLHUP)) {
		int reason = 0;
		socklen_t size = sizeof reason;

		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &reason, &size);
		fail(w, c, reason ? reason : EPIPE);
	} else if (!c->asked) {
		ask(w, c);
	} else if (events & EPOLLIN) {
		hear(w, c);
	}
}

/* Starts again what failed; returns whether something still lies idle. */
static bool restart(struct worker *w)
{
	bool idle = false;

	for (long i = 0; i < w->plan->in_flight; i++) {
		if (w->connections[i].fd < 0)
			start(w, &w->connections[i]);
		idle |= w->connections[i].fd < 0;
	}
	return idle;
}

static unsigned long count_open(const struct worker *w)
{
	unsigned long open = 0;

	for (long i = 0; i < w->plan->in_flight; i++)
		open += w->connections[i].fd >= 0;
	return open;
}

/* Adds the time and CPU time of this moment, with sign: -1 opens a tally, +1 closes it. */
static void stamp(struct tally *t, double sign)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	t->seconds += sign * now();
	t->user += sign * ((double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6);
	t->system += sign * ((double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6);
}

static void turn(struct worker *w, int timeout_ms)
{
	struct epoll_event events[256];
	int n = epoll_wait(w->epoll, events, 256, timeout_ms);

	if (n < 0 && errno != EINTR)
		err(1, "epoll_wait");
	for (int i = 0; i < n; i++)
		handle(w, events[i].data.ptr, events[i].events);
}

static void *run(void *argument)
{
	struct worker *w = argument;
	double measure = now() + w->plan->warmup, end = measure + w->plan->duration, t;
	bool measuring = false, idle = true;

	while ((t = now()) < end) {
		unsigned long failed;

		if (!measuring && t >= measure) {
			w->tally = (struct tally){.attempted = count_open(w)};
			stamp(&w->tally, -1);
			measuring = true;
		}
		/* All slots are looked at only after a failure: this scan is no part of what a
		 * connection costs. A restart that fails waits 1 ms, or it would spin. */
		if (idle)
			idle = restart(w);
		failed = w->tally.failed;
		turn(w, idle ? 1 : 50);
		idle |= w->tally.failed != failed;
	}
	stamp(&w->tally, +1);
	w->tally.open = count_open(w);
	return NULL;
}

void worker_start(struct worker *w, const struct plan *plan, long index)
{
	*w = (struct worker){
		.plan = plan,
		.index = index,
		.source = plan->first_source + (uint32_t)index,
		.epoll = epoll_create1(EPOLL_CLOEXEC),
		.connections = calloc((size_t)plan->in_flight, sizeof(struct connection)),
	};
	if (w->epoll < 0 || !w->connections)
		err(1, "thread %ld", index);
	for (long i = 0; i < plan->in_flight; i++)
		w->connections[i].fd = -1;
	if ((errno = pthread_create(&w->thread, NULL, run, w)))
		err(1, "pthread_create");
}
