//! Taking a capture: attach the programs, drain their records, keep them in a file.

mod ames;
pub mod btf;
pub mod code;
pub mod debug_file;
pub mod decode;
mod elf;
pub mod file;
mod kallsyms;
mod maps;
mod misses;
pub mod naming;
pub mod offsets;
pub mod output;
pub mod points;
pub mod privileges;
pub mod probes;
pub mod recording;
pub mod sampling;
pub mod symbols;
mod validate;
mod writeback;
