/* What the client and the server share: numbers on the command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <err.h>
#include <stdlib.h>

static inline double number(const char *text, double low, double high)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= low && value <= high))
		errx(2, "%s is not a number from %g to %g", text, low, high);
	return value;
}

static inline long whole(const char *text, long low, long high)
{
	double value = number(text, (double)low, (double)high);

	if (value != (double)(long)value)
		errx(2, "%s is not a whole number", text);
	return (long)value;
}

#endif
