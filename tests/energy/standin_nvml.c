/* A stand-in for libnvidia-ml.so.1 whose devices live in a file that a test maps and scripts. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEVICES 4
#define MIGS 2
#define NAME 96
#define USERS 3
enum { SUCCESS = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, LIBRARY_NOT_FOUND = 12 };

struct sample {
    uint32_t pid;
    uint64_t time_us;
    uint32_t sm, memory, encoder, decoder;
};

struct device {
    uint64_t energy_mj;
    uint32_t power_mw, limit_mw;
    int32_t energy_rc, power_rc, hang_ms;
    uint32_t migs;
    char uuid[NAME];
    char mig_uuid[MIGS][NAME];
    int32_t use_rc;
    struct sample uses[USERS];
};
struct state {
    int32_t init_rc;
    uint32_t count;
    struct device devices[DEVICES];
};
static struct state *state;

int nvmlInitWithFlags(unsigned flags) {
    const char *path = getenv("OVERWINTER_STANDIN_NVML");
    (void)flags;
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0) return LIBRARY_NOT_FOUND;
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return state->init_rc;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) {
    static char text[32];
    snprintf(text, sizeof text, "stand-in error %d", code);
    return text;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = state->count;
    return SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index >= state->count) return INVALID;
    *handle = &state->devices[index];
    return SUCCESS;
}
int nvmlDeviceGetName(struct device *device, char *name, unsigned length) {
    (void)device;
    snprintf(name, length, "Stand-in GPU");
    return SUCCESS;
}
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    for (int i = 0; i < DEVICES; i++)
        if (handle == &state->devices[i]) {
            snprintf(uuid, length, "%s", state->devices[i].uuid);
            return SUCCESS;
        }
    snprintf(uuid, length, "%s", (char *)handle); /* a MIG device's handle is its name */
    return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(struct device *device, unsigned long long *energy_mj) {
    if (device->hang_ms) usleep((useconds_t)device->hang_ms * 1000);
    *energy_mj = device->energy_mj;
    return device->energy_rc;
}
int nvmlDeviceGetPowerUsage(struct device *device, unsigned *power_mw) {
    *power_mw = device->power_mw;
    return device->power_rc;
}
int nvmlDeviceGetEnforcedPowerLimit(struct device *device, unsigned *limit_mw) {
    *limit_mw = device->limit_mw;
    return device->limit_mw ? SUCCESS : UNSUPPORTED;
}
int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *count) {
    *count = MIGS;
    return device->migs ? SUCCESS : UNSUPPORTED;
}
int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index, void **handle) {
    if (index >= device->migs) return NOT_FOUND;
    *handle = device->mig_uuid[index];
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    for (unsigned i = 0; i < state->count; i++)
        if (!strcmp(uuid, state->devices[i].uuid)) {
            *handle = &state->devices[i];
            return SUCCESS;
        }
    return NOT_FOUND;
}
int nvmlDeviceGetProcessUtilization(struct device *device, struct sample *samples, unsigned *count,
                                    unsigned long long since_us) {
    unsigned newer = 0;
    if (device->use_rc) return device->use_rc;
    for (int i = 0; i < USERS; i++)
        if (device->uses[i].time_us > since_us) {
            if (samples && newer < *count) samples[newer] = device->uses[i];
            newer++;
        }
    if (!newer) return NOT_FOUND;
    int fits = samples && newer <= *count;
    *count = newer;
    return fits ? SUCCESS : TOO_SMALL;
}
