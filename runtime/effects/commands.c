/* What calls of many commands write.  Each row is the bytes that a command writes where an argument points; a command
 * without a row writes nothing there, but for ioctl, of which nobody knows all: there it is unknown.
 */
#include "arch/x86_64/unistd.h"
#include "effects/effects.h"

enum {
    UNKNOWN_BYTES = 0xffff, /* as many as something else says: a set of semaphores, a list behind a structure */
    FUTEX_OPTIONS = 0x180,  /* FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME */
    WRITTEN_BY_KERNEL = 2,  /* _IOC_READ */
};

struct command {
    uint16_t number;
    uint16_t bytes;
    uint32_t argument;
    uint32_t command;
};

/* clang-format off */
static const struct command commands[] = {
    /* F_GETLK, F_OFD_GETLK, F_GETOWN_EX, F_GETOWNER_UIDS, F_GET_RW_HINT, F_GET_FILE_RW_HINT */
    {NR_fcntl, 32, 2, 5}, {NR_fcntl, 32, 2, 36}, {NR_fcntl, 8, 2, 16}, {NR_fcntl, 8, 2, 17}, {NR_fcntl, 8, 2, 1035},
    {NR_fcntl, 8, 2, 1037},
    /* FUTEX_LOCK_PI, UNLOCK_PI, TRYLOCK_PI, LOCK_PI2; the second word: WAKE_OP, WAIT_REQUEUE_PI, CMP_REQUEUE_PI.  All
     * others only compare: to put back what a word was would undo the work of whoever has woken us. */
    {NR_futex, 4, 0, 6}, {NR_futex, 4, 0, 7}, {NR_futex, 4, 0, 8}, {NR_futex, 4, 0, 13}, {NR_futex, 4, 4, 5},
    {NR_futex, 4, 4, 11}, {NR_futex, 4, 4, 12},
    /* PR_GET_PDEATHSIG, UNALIGN, FPEMU, FPEXC, NAME, ENDIAN, TSC, CHILD_SUBREAPER, TID_ADDRESS; PR_SCHED_CORE;
     * PR_GET_AUXV: as long as the next argument says */
    {NR_prctl, 4, 1, 2}, {NR_prctl, 4, 1, 5}, {NR_prctl, 4, 1, 9}, {NR_prctl, 4, 1, 11}, {NR_prctl, 16, 1, 16},
    {NR_prctl, 4, 1, 19}, {NR_prctl, 4, 1, 25}, {NR_prctl, 4, 1, 37}, {NR_prctl, 8, 1, 40}, {NR_prctl, 8, 4, 62},
    {NR_prctl, UNKNOWN_BYTES, 1, 0x41555856},
    /* IPC_STAT, IPC_INFO, and each one's own kinds of both; GETALL */
    {NR_shmctl, 112, 2, 2}, {NR_shmctl, 72, 2, 3}, {NR_shmctl, 112, 2, 13}, {NR_shmctl, 48, 2, 14},
    {NR_shmctl, 112, 2, 15}, {NR_msgctl, 120, 2, 2}, {NR_msgctl, 32, 2, 3}, {NR_msgctl, 120, 2, 11},
    {NR_msgctl, 32, 2, 12}, {NR_msgctl, 120, 2, 13}, {NR_semctl, 104, 3, 2}, {NR_semctl, 40, 3, 3},
    {NR_semctl, 104, 3, 18}, {NR_semctl, 40, 3, 19}, {NR_semctl, 104, 3, 20}, {NR_semctl, UNKNOWN_BYTES, 3, 13},
    /* Terminals: TCGETS, TCGETA, TIOCGPGRP, OUTQ, GWINSZ, MGET, GSOFTCAR, FIONREAD, GSERIAL, GETD, GSID, RS485 (both),
     * TCGETX, GLCKTRMIOS, SERGETLSR, GICOUNT, FIOQSIZE; TIOCLINUX has commands of its own */
    {NR_ioctl, 36, 2, 0x5401}, {NR_ioctl, 18, 2, 0x5405}, {NR_ioctl, 4, 2, 0x540f}, {NR_ioctl, 4, 2, 0x5411},
    {NR_ioctl, 8, 2, 0x5413}, {NR_ioctl, 4, 2, 0x5415}, {NR_ioctl, 4, 2, 0x5419}, {NR_ioctl, 4, 2, 0x541b},
    {NR_ioctl, 72, 2, 0x541e}, {NR_ioctl, 4, 2, 0x5424}, {NR_ioctl, 4, 2, 0x5429}, {NR_ioctl, 32, 2, 0x542e},
    {NR_ioctl, 32, 2, 0x542f}, {NR_ioctl, 16, 2, 0x5432}, {NR_ioctl, 36, 2, 0x5456}, {NR_ioctl, 4, 2, 0x5459},
    {NR_ioctl, 80, 2, 0x545d}, {NR_ioctl, 8, 2, 0x5460}, {NR_ioctl, UNKNOWN_BYTES, 2, 0x541c},
    /* Sockets: FIOGETOWN, SIOCGPGRP, SIOCATMARK, SIOCGSTAMP, SIOCGSTAMPNS; SIOCGIFCONF and SIOCETHTOOL point further */
    {NR_ioctl, 4, 2, 0x8903}, {NR_ioctl, 4, 2, 0x8904}, {NR_ioctl, 4, 2, 0x8905}, {NR_ioctl, 16, 2, 0x8906},
    {NR_ioctl, 16, 2, 0x8907}, {NR_ioctl, UNKNOWN_BYTES, 2, 0x8912}, {NR_ioctl, UNKNOWN_BYTES, 2, 0x8946},
    /* Files and disks: FIBMAP, FIGETBSZ, BLKROGET, GETSIZE, RAGET, SSZGET, IOMIN, IOOPT, ALIGNOFF, PBSZGET,
     * DISCARDZEROES, ROTATIONAL; FS_IOC_FIEMAP and FIDEDUPERANGE are followed by lists */
    {NR_ioctl, 4, 2, 1}, {NR_ioctl, 4, 2, 2}, {NR_ioctl, 4, 2, 0x125e}, {NR_ioctl, 8, 2, 0x1260},
    {NR_ioctl, 8, 2, 0x1263}, {NR_ioctl, 4, 2, 0x1268}, {NR_ioctl, 4, 2, 0x1278}, {NR_ioctl, 4, 2, 0x1279},
    {NR_ioctl, 4, 2, 0x127a}, {NR_ioctl, 4, 2, 0x127b}, {NR_ioctl, 4, 2, 0x127c}, {NR_ioctl, 2, 2, 0x127e},
    {NR_ioctl, UNKNOWN_BYTES, 2, 0xc020660b}, {NR_ioctl, UNKNOWN_BYTES, 2, 0xc0189436},
};
/* clang-format on */

/* Without a row.  Encoded requests say how much; of the old ones these write nothing, or a struct ifreq. */
static bool ioctl_bytes(uint32_t request, uint32_t *bytes) {
    enum { TERMINAL = 0x54, SOCKET = 0x89, DISK = 0x12, FILES = 0x66, CLONES = 0x94, FREEZE = 0x58 };
    enum { FIRST_INTERFACE = 0x10, INTERFACE_BYTES = 40 };
    const uint32_t type = request >> 8 & 0xff, size = request >> 16 & 0x3fff;
    *bytes = request >> 30 & WRITTEN_BY_KERNEL ? size : 0;
    if (type == SOCKET && !(request >> 16) && (request & 0xff) >= FIRST_INTERFACE)
        *bytes = INTERFACE_BYTES;
    return type == TERMINAL || type == SOCKET || type == DISK || type == FILES || type == CLONES || type == FREEZE;
}

bool command_bytes(uint64_t number, unsigned argument, uint64_t command, uint32_t *bytes) {
    const uint32_t low = number == NR_futex ? (uint32_t)command & ~(uint32_t)FUTEX_OPTIONS : (uint32_t)command;
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        if (commands[i].number == number && commands[i].argument == argument && commands[i].command == low) {
            *bytes = commands[i].bytes;
            return commands[i].bytes != UNKNOWN_BYTES;
        }
    *bytes = 0;
    return number != NR_ioctl || ioctl_bytes(low, bytes);
}
