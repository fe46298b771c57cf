/* One thread of the client: what it is told, and what it tells. */
#ifndef WORKER_H
#define WORKER_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>

enum { HEADER = 16, MAX_REQUEST = 16384 };

/* Written by main before the threads start, read-only from then on. */
struct plan {
	struct sockaddr_in target;
	uint32_t first_source; /* host byte order */
	long threads, sources; /* sources over all threads */
	long in_flight;        /* connections per thread */
	double warmup, duration; /* seconds */
	char request[HEADER + MAX_REQUEST];
	long request_bytes, response_bytes; /* on the wire, a header included */
};

/* What happened since the warm-up ended: attempted = ok + failed + open. */
struct tally {
	unsigned long attempted, ok, failed, open;
	double seconds, user, system;
};

/* One thread owns one; main reads tally and first_errno after pthread_join(). */
struct worker {
	const struct plan *plan;
	pthread_t thread;
	long index;
	uint32_t source; /* host byte order; the next one to connect from */
	int epoll;
	struct connection *connections;
	struct tally tally;
	int first_errno; /* of the first failure, warm-up included; 0 for none */
};

/* Starts thread number index. */
void worker_start(struct worker *w, const struct plan *plan, long index);

#endif
