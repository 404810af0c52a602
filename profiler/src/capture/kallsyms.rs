//! Where the running kernel has a few functions of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};

use profiler_common::memory::{Function, Functions};

/// The kernel's symbols. Addresses are zeros without `CAP_SYSLOG`, or with `kernel.kptr_restrict` 2.
const KALLSYMS: &str = "/proc/kallsyms";

/// Longest function that is believed. The next symbol may be far away.
const MAX_FUNCTION_BYTES: u64 = 64 << 10;

/// The functions that the programs search stacks for.
pub fn functions() -> Functions {
    match File::open(KALLSYMS) {
        Ok(file) => find(BufReader::new(file)),
        Err(_) => find(std::io::empty()),
    }
}

fn find(kallsyms: impl BufRead) -> Functions {
    let wanted = |name: &str| match name {
        "do_swap_page" => Some(0),
        "filemap_fault" => Some(1),
        "mem_cgroup_handle_over_high" | "__mem_cgroup_handle_over_high" => Some(2),
        _ => None,
    };
    let mut found = [Function::UNKNOWN; 3];
    let mut addresses = Vec::new();
    for line in kallsyms.lines().map_while(Result::ok) {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        // Modules' follow the kernel's own, and code is all that counts.
        if words.next().is_some() || !matches!(kind, "t" | "T" | "w" | "W") {
            continue;
        }
        let Ok(address) = u64::from_str_radix(address, 16) else {
            continue;
        };
        addresses.push(address);
        if let Some(at) = wanted(name)
            && address != 0
        {
            // `wanted` gives one of the three places.
            found[at].start = address;
        }
    }
    for function in found.iter_mut().filter(|function| function.start != 0) {
        let next = addresses
            .iter()
            .copied()
            .filter(|address| *address > function.start)
            .min()
            .unwrap_or(u64::MAX);
        function.end = next.min(function.start.saturating_add(MAX_FUNCTION_BYTES));
    }
    let [swap_in, page_in, over_high] = found;
    Functions {
        swap_in,
        page_in,
        over_high,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_end_where_the_next_begins() {
        let text = "\
ffffffff81000200 T do_swap_page
ffffffff81000100 T filemap_fault
ffffffff81000180 t some_static
ffffffff81000190 d some_data
ffffffffc0000000 t do_swap_page\t[module]
";
        let found = find(text.as_bytes());
        let place = |function: Function| (function.start, function.end);
        assert_eq!(
            place(found.page_in),
            (0xffff_ffff_8100_0100, 0xffff_ffff_8100_0180)
        );
        assert_eq!(
            place(found.swap_in),
            (0xffff_ffff_8100_0200, 0xffff_ffff_8101_0200)
        );
        assert_eq!(place(found.over_high), (0, 0));
    }

    #[test]
    fn hidden_addresses_are_no_functions() {
        let found = find("0000000000000000 T do_swap_page\n".as_bytes());
        assert_eq!((found.swap_in.start, found.swap_in.end), (0, 0));
    }
}
