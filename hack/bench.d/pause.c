/* The program of the containers that `exec` and `state` are measured on: it waits for ever. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
