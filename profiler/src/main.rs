//! The `profile` command.

fn main() -> std::process::ExitCode {
    profiler::cli::main()
}
