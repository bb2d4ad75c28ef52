// The words of all files here that are C for a CPU. DOUBLE is defined for double precision.

#include <stdbool.h>

typedef long long Index;
#ifdef DOUBLE
typedef double Compute;
#define MATH(name) __builtin_##name
#else
typedef float Compute;
#define MATH(name) __builtin_##name##f
#endif
