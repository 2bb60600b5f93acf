//! Cuts SQL that pg_restore has generated into its statements.
//!
//! Only for grants, labels and what pg_dumpall writes: these are made of keywords, names, types and
//! texts in quotes, never of function bodies. They
//! are run one by one, so that a copy can leave out the grants of a role that is not there, and so
//! that a grantor is taken on with `SET ROLE`, which a member may, instead of with
//! `SET SESSION AUTHORIZATION`, which only a superuser may.

/// The statements without comments and without the semicolon behind each.
pub(super) fn split(sql: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '-' if chars.peek() == Some(&'-') => {
                for comment in chars.by_ref() {
                    if comment == '\n' {
                        break;
                    }
                }
                current.push(' ');
            }
            // A doubled quote ends one literal and begins the next: the text stays the same.
            '"' | '\'' => {
                current.push(c);
                for quoted in chars.by_ref() {
                    current.push(quoted);
                    if quoted == c {
                        break;
                    }
                }
            }
            ';' => keep(&mut statements, &mut current),
            // \restrict and \unrestrict, which newer pg_restore writes for psql alone.
            '\\' if current.trim().is_empty() => {
                for command in chars.by_ref() {
                    if command == '\n' {
                        break;
                    }
                }
            }
            _ => current.push(c),
        }
    }
    keep(&mut statements, &mut current);
    statements
}

fn keep(statements: &mut Vec<String>, current: &mut String) {
    let statement = current.trim();
    if !statement.is_empty() {
        statements.push(statement.to_owned());
    }
    current.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hide_semicolons_and_comments() {
        let sql = "\\restrict abc\n--\n-- Name: TABLE t; Type: ACL\n--\n\nSET x = 0;\nGRANT ALL ON TABLE s.\"a;--\"\"b\" TO \"it's\";\n\n\\unrestrict abc\n";
        assert_eq!(
            split(sql),
            [
                "SET x = 0",
                "GRANT ALL ON TABLE s.\"a;--\"\"b\" TO \"it's\""
            ]
        );
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(split("-- only a comment").is_empty());
        assert!(split("").is_empty());
    }
}
