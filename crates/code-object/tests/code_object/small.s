.amdgcn_target "amdgcn-amd-amdhsa--gfx942"
.text
.globl k
.p2align 8
.type k,@function
k: s_endpgm
.section .rodata,"a"
.p2align 6
.globl k.kd
.amdhsa_kernel k
 .amdhsa_next_free_vgpr 8
 .amdhsa_next_free_sgpr 8
 .amdhsa_accum_offset 4
.end_amdhsa_kernel
.data
.globl var
.type var,@object
.size var, 8
var: .quad 42
.globl table
.type table,@object
.size table, 16
.p2align 3
table: .quad var+4
 .quad missing
.weak missing
.amdgpu_metadata
---
amdhsa.version: [1, 2]
amdhsa.target: amdgcn-amd-amdhsa--gfx942
amdhsa.kernels:
  - .name: k
    .symbol: k.kd
    .kernarg_segment_size: 32
    .kernarg_segment_align: 8
    .group_segment_fixed_size: 0
    .private_segment_fixed_size: 0
    .wavefront_size: 64
    .sgpr_count: 8
    .vgpr_count: 8
    .max_flat_workgroup_size: 256
    .args:
      - .offset: 0
        .size: 8
        .value_kind: global_buffer
        .address_space: global
      - .offset: 8
        .size: 4
        .value_kind: by_value
      - .offset: 16
        .size: 4
        .value_kind: hidden_block_count_x
      - .offset: 20
        .size: 2
        .value_kind: hidden_group_size_x
      - .offset: 24
        .size: 8
        .value_kind: hidden_hostcall_buffer
...
.end_amdgpu_metadata
