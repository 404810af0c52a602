//! Jets: functions of vere that do in C what Hoon says.

/// The name in Hoon of the jet that a function of vere is, `jam (jet)` for `u3we_jam`. Nothing for
/// other functions.
///
/// Jets are called `u3wX_name` (takes the sample apart), `u3qX_name` (computes) or `u3kX_name`
/// (computes and frees), X being the layer of the standard library, with a second letter for the
/// cores in it (vere `pkg/noun/jets/q.h` and `w.h`): `db` for `by`, `di` for `in`.
pub fn jet(symbol: &str) -> Option<String> {
    let rest = symbol.strip_prefix("u3")?;
    let rest = rest.strip_prefix(['w', 'q', 'k'])?;
    let (layer, name) = rest.split_once('_')?;
    let is_layer = (1..=2).contains(&layer.len()) && layer.bytes().all(|b| b.is_ascii_lowercase());
    if !is_layer || name.is_empty() {
        return None;
    }
    let name = name.replace('_', "-");
    Some(match layer {
        "db" => format!("{name}:by (jet)"),
        "di" => format!("{name}:in (jet)"),
        _ => format!("{name} (jet)"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jets_are_named_as_in_hoon() {
        for (symbol, name) in [
            ("u3we_jam", Some("jam (jet)")),
            ("u3qe_jam", Some("jam (jet)")),
            ("u3wc_con", Some("con (jet)")),
            ("u3wdb_get", Some("get:by (jet)")),
            ("u3qdi_put", Some("put:in (jet)")),
            ("u3qea_ecba_en", Some("ecba-en (jet)")),
            ("u3kb_lent", Some("lent (jet)")),
            ("u3r_at", None),
            ("u3_king_commence", None),
            ("u3w_", None),
            ("u3we_", None),
            ("u3wabc_x", None),
            ("_n_burn", None),
        ] {
            assert_eq!(jet(symbol).as_deref(), name, "{symbol}");
        }
    }
}
