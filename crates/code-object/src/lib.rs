//! gfx942 code objects, as the launcher and the emulator read them.
#![forbid(unsafe_code)]
