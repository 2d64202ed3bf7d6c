// Runs every generated function over every input, a block at a time, as the work-groups do.
#include <stdio.h>
#include <stdlib.h>

static u32 partner(u32 thread, u32 function) { return (thread * (2 * function + 5) + function * 37) & (BLOCK - 1); }

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
    if (!in || !out) return 3;
    fseek(in, 0, SEEK_END);
    long bytes = ftell(in);
    rewind(in);
    u32 *words = malloc(bytes);
    if (fread(words, 1, bytes, in) != (size_t)bytes) return 4;
    u32 threads = bytes / 32;
    for (u32 f = 0; f < sizeof BEFORE / sizeof *BEFORE; f++) {
        for (u32 first = 0; first < threads; first += BLOCK) {
            u64 exchange[BLOCK];
            for (u32 t = 0; t < BLOCK; t++) exchange[t] = BEFORE[f](words + (first + t) * 8);
            for (u32 t = 0; t < BLOCK; t++) {
                u64 result[OUTPUT_WORDS] = {0};
                const u32 *own = words + (first + t) * 8;
                result[0] = AFTER[f](own, exchange[t], exchange[partner(t, f)], result);
                fwrite(result, sizeof *result, OUTPUT_WORDS, out);
            }
        }
    }
    return fclose(out) ? 5 : 0;
}
