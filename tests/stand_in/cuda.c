/* A stand-in for libcuda.so.1: the PCI addresses in OVERWINTER_STAND_IN_CUDA, in that order; CUDA_VISIBLE_DEVICES
 * shows the one of its number only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char addresses[8][32];
static int count;

int cuInit(unsigned flags) {
    (void)flags;
    const char *told = getenv("OVERWINTER_STAND_IN_CUDA"), *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (!told) return 100; /* no device */
    char text[256], all[8][32];
    snprintf(text, sizeof text, "%s", told);
    int found = 0;
    for (char *word = strtok(text, " "); word && found < 8; word = strtok(NULL, " "))
        snprintf(all[found++], 32, "%s", word);
    for (int index = 0; index < found; index++)
        if (!visible || atoi(visible) == index) strcpy(addresses[count++], all[index]);
    return 0;
}
int cuDeviceGetCount(int *result) {
    *result = count;
    return 0;
}
int cuDeviceGet(int *device, int index) {
    *device = index;
    return 0;
}
int cuDeviceGetPCIBusId(char *text, int length, int device) {
    snprintf(text, (size_t)length, "%s", addresses[device]);
    return 0;
}
