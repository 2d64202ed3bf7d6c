// Numbers that travel with a launch: they need no memory of their own, no copy ahead of the kernel, and no wait.
// `ROW_LIST_LEN` in src/ops.rs says the same.
#pragma once

constexpr unsigned ROW_LIST_LEN = 256;

struct RowList {
    unsigned at[ROW_LIST_LEN];
};
