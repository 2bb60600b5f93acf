//! Pages: which rows were asked for, and the header `Link`.

/// One page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub number: u64,
    /// 1 to 1000.
    pub size: u64,
}

impl Page {
    /// Rows of a page when nobody says otherwise.
    pub const DEFAULT_SIZE: u64 = 10;
    /// The most rows of a page.
    pub const MAX_SIZE: u64 = 1000;

    /// How many rows come before it.
    pub fn offset(self) -> u64 {
        (self.number - 1).saturating_mul(self.size)
    }
}

/// The header `Link` (RFC 8288) of one page of a list: first, prev, next, last.
#[derive(Debug, Clone)]
pub struct PageLinks<'a> {
    /// The request's path.
    pub path: &'a str,
    /// The request's query without `page` and `page-size`, still encoded.
    pub rest_of_query: &'a str,
    /// The page answered.
    pub page: Page,
    /// All rows there are.
    pub total: u64,
}

impl PageLinks<'_> {
    /// The header's value.
    pub fn header(&self) -> String {
        let last = self.total.div_ceil(self.page.size).max(1);
        let mut links = vec![self.link(1, "first")];
        if self.page.number > 1 {
            // Past the end, the page before is the last one that has rows.
            links.push(self.link((self.page.number - 1).min(last), "prev"));
        }
        if self.page.number < last {
            links.push(self.link(self.page.number + 1, "next"));
        }
        links.push(self.link(last, "last"));
        links.join(", ")
    }

    fn link(&self, number: u64, relation: &str) -> String {
        let and = if self.rest_of_query.is_empty() {
            ""
        } else {
            "&"
        };
        format!(
            "<{}?{}{and}page={number}&page-size={}>; rel=\"{relation}\"",
            self.path, self.rest_of_query, self.page.size
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u64, total: u64) -> String {
        PageLinks {
            path: "/jobs",
            rest_of_query: "is-active=true",
            page: Page { number, size: 10 },
            total,
        }
        .header()
    }

    #[test]
    fn the_links_name_first_previous_next_and_last() {
        let middle = header(2, 25);
        for link in [
            "</jobs?is-active=true&page=1&page-size=10>; rel=\"first\"",
            "</jobs?is-active=true&page=1&page-size=10>; rel=\"prev\"",
            "</jobs?is-active=true&page=3&page-size=10>; rel=\"next\"",
            "</jobs?is-active=true&page=3&page-size=10>; rel=\"last\"",
        ] {
            assert!(middle.contains(link), "{middle}");
        }
        assert!(!header(1, 25).contains("prev") && !header(3, 25).contains("next"));
        assert!(header(1, 0).contains("page=1&page-size=10>; rel=\"last\""));
        assert!(header(9, 25).contains("page=3&page-size=10>; rel=\"prev\""));
    }
}
