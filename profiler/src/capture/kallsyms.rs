//! Where the running kernel has a few functions of its own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;

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

/// The kernel's functions that hold addresses, in their order, each with where it begins and ends.
///
/// # Errors
/// If the symbols cannot be read, or their addresses are hidden.
pub fn functions_at(addresses: &BTreeSet<u64>) -> std::io::Result<Vec<(Range<u64>, String)>> {
    let found = functions_in(&std::fs::read_to_string(KALLSYMS)?, addresses);
    if found.is_empty() && !addresses.is_empty() {
        let reason = "the kernel's addresses are hidden (kernel.kptr_restrict)";
        return Err(std::io::Error::other(reason));
    }
    Ok(found)
}

fn functions_in(kallsyms: &str, addresses: &BTreeSet<u64>) -> Vec<(Range<u64>, String)> {
    let mut functions: Vec<(u64, &str)> = kallsyms
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let start = u64::from_str_radix(words.next()?, 16).ok()?;
            let is_code = matches!(words.next()?, "t" | "T" | "w" | "W");
            (is_code && start != 0).then_some((start, words.next()?))
        })
        .collect();
    // Stable: of several names of one address, the first.
    functions.sort_by_key(|(start, _)| *start);
    functions.dedup_by_key(|(start, _)| *start);
    let mut found: Vec<(Range<u64>, String)> = Vec::new();
    for &address in addresses {
        let next = functions.partition_point(|(start, _)| *start <= address);
        let Some(&(start, name)) = next.checked_sub(1).and_then(|at| functions.get(at)) else {
            continue;
        };
        let end = functions.get(next).map_or(u64::MAX, |(start, _)| *start);
        let end = end.min(start.saturating_add(MAX_FUNCTION_BYTES));
        let is_known = found.last().is_some_and(|(range, _)| range.start == start);
        if address < end && !is_known {
            found.push((start..end, name.to_owned()));
        }
    }
    found
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
    fn an_address_is_of_the_function_that_begins_before_it() {
        let text = "\
ffffffffa0000300 t in_module\t[module]
ffffffff81000100 T first
ffffffff81000100 T its_other_name
ffffffff81000150 D data
ffffffff81000200 t second
";
        let at = |addresses: &[u64]| {
            let addresses = addresses
                .iter()
                .map(|a| 0xffff_ffff_0000_0000 | a)
                .collect();
            let found = functions_in(text, &addresses);
            found
                .into_iter()
                .map(|(range, name)| (range.end - range.start, name))
                .collect::<Vec<_>>()
        };
        // The second is followed by nothing for long.
        assert_eq!(
            at(&[0x8100_0100, 0x8100_01ff, 0x8100_0200]),
            [
                (0x100, "first".to_owned()),
                (MAX_FUNCTION_BYTES, "second".to_owned())
            ]
        );
        assert_eq!(at(&[0x8000_0000, 0x8200_0000]), []);
        assert_eq!(at(&[0xa000_0301])[0].1, "in_module");
    }

    #[test]
    fn hidden_addresses_are_no_functions() {
        let found = find("0000000000000000 T do_swap_page\n".as_bytes());
        assert_eq!((found.swap_in.start, found.swap_in.end), (0, 0));
    }
}
