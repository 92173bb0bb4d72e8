/* A stand-in for the NVIDIA driver's library, for tests: the calls that Overwinter makes, with the driver's own
 * names and types, on devices that exist only in a shared file. Several processes can look at the same devices,
 * so that a test sees what holds after a process was killed.
 *
 * The file is named by OVERWINTER_STAND_IN_NVML and holds one `struct machine`. tests/stand_in/nvml.py mirrors the
 * layout; only fields of 8 and 64 bytes are used, so that there is no padding to get wrong.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SUCCESS 0
#define UNINITIALIZED 1
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define NO_PERMISSION 4
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define DRIVER_NOT_LOADED 9
#define GPU_IS_LOST 15

#define MOST 8
#define ENERGY_BASE 500000000 /* a counter that has been running since the driver was loaded */

struct device {
    char uuid[64];
    char name[64];
    char bus_id[64];
    uint64_t min_mw, max_mw, default_mw, limit_mw;
    uint64_t operator_mw;  /* another limiter, out of band: the enforced limit is the lower of the two */
    uint64_t demand_mw;    /* what the work would draw without any limit */
    uint64_t idle_mw;
    uint64_t max_clock_mhz, locked_clock_mhz; /* 0: not locked */
    uint64_t lost;         /* fallen off the bus; above 1, the code that it answers with instead */
    uint64_t sets;         /* successful calls that changed a limit */
    uint64_t has_counter;  /* whether there is an energy counter */
    uint64_t energy_mj;    /* the counter, where `frozen` */
    uint64_t frozen;       /* 0: the counter runs by the clock, at the power drawn */
    uint64_t ignores_limit; /* accepts a limit and does not keep it */
    uint64_t counted_ns, counted_nj; /* the running counter: when it was last read, and what it had counted */
};

struct machine {
    uint64_t count;
    uint64_t may_set;      /* whether the caller counts as root */
    uint64_t broken;       /* nvmlInit fails */
    uint64_t start_ns;     /* of the energy counters */
    struct device devices[MOST];
};

static struct machine *machine;
static int users;

static struct machine *mapped(void) {
    if (machine) return machine;
    const char *path = getenv("OVERWINTER_STAND_IN_NVML");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return NULL;
    void *memory = mmap(NULL, sizeof(struct machine), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED) machine = memory;
    return machine;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int trouble(const struct device *device) {
    return device->lost == 1 ? GPU_IS_LOST : (int)device->lost;
}

static int usable(struct device *device) {
    if (!users) return UNINITIALIZED;
    if (!device) return INVALID_ARGUMENT;
    return trouble(device);
}

#define REQUIRE(device) do { int code = usable(device); if (code) return code; } while (0)

static uint64_t enforced(const struct device *device) {
    uint64_t limit = device->ignores_limit ? device->default_mw : device->limit_mw;
    return device->operator_mw && device->operator_mw < limit ? device->operator_mw : limit;
}

static uint64_t drawn(const struct device *device) {
    uint64_t demand = device->demand_mw;
    if (device->locked_clock_mhz && device->max_clock_mhz)
        demand = device->idle_mw + (demand - device->idle_mw) * device->locked_clock_mhz / device->max_clock_mhz;
    return demand < enforced(device) ? demand : enforced(device);
}

/* Bring the counter up to now, at the power that has been drawn since it was last looked at. */
static void count(struct device *device) {
    uint64_t now = now_ns(), since = device->counted_ns ? device->counted_ns : machine->start_ns;
    device->counted_nj += (now - since) / 1000u * drawn(device);
    device->counted_ns = now;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    if (!mapped() || machine->broken) return DRIVER_NOT_LOADED;
    users++;
    return SUCCESS;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    if (!users) return UNINITIALIZED;
    users--;
    return SUCCESS;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

static int put(char *buffer, unsigned length, const char *text) {
    if (strlen(text) + 1 > length) return INSUFFICIENT_SIZE;
    strcpy(buffer, text);
    return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length) { return put(version, length, "999.42.01"); }

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!users) return UNINITIALIZED;
    *count = (unsigned)machine->count;
    return SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct device **handle) {
    if (!users) return UNINITIALIZED;
    if (index >= machine->count) return INVALID_ARGUMENT;
    *handle = &machine->devices[index];
    return trouble(*handle);
}
/* As documented: "if any GPU has fallen off the bus", whichever is asked for. */
int nvmlDeviceGetHandleByUUID(const char *uuid, struct device **handle) {
    if (!users) return UNINITIALIZED;
    for (unsigned index = 0; index < machine->count; index++)
        if (machine->devices[index].lost) return trouble(&machine->devices[index]);
    for (unsigned index = 0; index < machine->count; index++)
        if (!strcmp(machine->devices[index].uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2(index, handle);
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(struct device *device, char *uuid, unsigned length) {
    REQUIRE(device);
    return put(uuid, length, device->uuid);
}
int nvmlDeviceGetName(struct device *device, char *name, unsigned length) {
    REQUIRE(device);
    return put(name, length, device->name);
}

struct pci_info { /* nvmlPciInfo_t */
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};
int nvmlDeviceGetPciInfo_v3(struct device *device, struct pci_info *info) {
    REQUIRE(device);
    memset(info, 0, sizeof *info);
    snprintf(info->bus_id, sizeof info->bus_id, "%.31s", device->bus_id);
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(struct device *device, unsigned *count) {
    REQUIRE(device);
    *count = 0;
    return SUCCESS;
}
int nvmlDeviceGetMigDeviceHandleByIndex(struct device *device, unsigned index, struct device **mig) {
    (void)index, (void)mig;
    REQUIRE(device);
    return NOT_FOUND;
}

int nvmlDeviceGetArchitecture(struct device *device, unsigned *architecture) {
    REQUIRE(device);
    *architecture = 9; /* Hopper */
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(struct device *device, unsigned long long *energy_mj) {
    REQUIRE(device);
    if (!device->has_counter) return NOT_SUPPORTED;
    count(device);
    *energy_mj = device->frozen ? device->energy_mj : ENERGY_BASE + device->counted_nj / 1000000u;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(struct device *device, unsigned *power_mw) {
    REQUIRE(device);
    *power_mw = (unsigned)drawn(device);
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementLimitConstraints(struct device *device, unsigned *min_mw, unsigned *max_mw) {
    REQUIRE(device);
    *min_mw = (unsigned)device->min_mw;
    *max_mw = (unsigned)device->max_mw;
    return SUCCESS;
}
int nvmlDeviceGetPowerManagementDefaultLimit(struct device *device, unsigned *limit_mw) {
    REQUIRE(device);
    *limit_mw = (unsigned)device->default_mw;
    return SUCCESS;
}
int nvmlDeviceGetPowerManagementLimit(struct device *device, unsigned *limit_mw) {
    REQUIRE(device);
    *limit_mw = (unsigned)device->limit_mw;
    return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(struct device *device, unsigned *limit_mw) {
    REQUIRE(device);
    *limit_mw = (unsigned)enforced(device);
    return SUCCESS;
}
int nvmlDeviceSetPowerManagementLimit(struct device *device, unsigned limit_mw) {
    REQUIRE(device);
    if (!machine->may_set) return NO_PERMISSION;
    if (limit_mw < device->min_mw || limit_mw > device->max_mw) return INVALID_ARGUMENT;
    count(device);
    device->limit_mw = limit_mw;
    device->sets++;
    return SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(struct device *device, int type, unsigned *clock_mhz) {
    (void)type;
    REQUIRE(device);
    *clock_mhz = (unsigned)device->max_clock_mhz;
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(struct device *device, int type, unsigned *clock_mhz) {
    (void)type;
    REQUIRE(device);
    *clock_mhz = (unsigned)(device->locked_clock_mhz ? device->locked_clock_mhz : device->max_clock_mhz);
    return SUCCESS;
}
static int listed(unsigned *count, unsigned *values, unsigned most, unsigned first, unsigned step) {
    if (!values || *count < most) {
        *count = most;
        return INSUFFICIENT_SIZE;
    }
    for (unsigned index = 0; index < most; index++) values[index] = first - index * step;
    *count = most;
    return SUCCESS;
}
int nvmlDeviceGetSupportedMemoryClocks(struct device *device, unsigned *count, unsigned *clocks) {
    REQUIRE(device);
    return listed(count, clocks, 1, 1593, 0);
}
int nvmlDeviceGetSupportedGraphicsClocks(struct device *device, unsigned memory, unsigned *count, unsigned *clocks) {
    (void)memory;
    REQUIRE(device);
    unsigned top = (unsigned)device->max_clock_mhz;
    return listed(count, clocks, (top - 210) / 15 + 1, top, 15);
}
int nvmlDeviceSetGpuLockedClocks(struct device *device, unsigned min_mhz, unsigned max_mhz) {
    REQUIRE(device);
    if (!machine->may_set) return NO_PERMISSION;
    if (min_mhz > max_mhz || max_mhz > device->max_clock_mhz) return INVALID_ARGUMENT;
    count(device);
    device->locked_clock_mhz = max_mhz;
    device->sets++;
    return SUCCESS;
}
int nvmlDeviceResetGpuLockedClocks(struct device *device) {
    REQUIRE(device);
    if (!machine->may_set) return NO_PERMISSION;
    device->locked_clock_mhz = 0;
    device->sets++;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksEventReasons(struct device *device, unsigned long long *reasons) {
    REQUIRE(device);
    *reasons = drawn(device) >= enforced(device) ? 0x4 : 0;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(struct device *device, unsigned long long *reasons) {
    return nvmlDeviceGetCurrentClocksEventReasons(device, reasons);
}
