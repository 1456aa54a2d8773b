//! Names that Verilog keeps for itself.
//!
//! All reserved words of SystemVerilog, because Verilator and others read a `.v` file as SystemVerilog: a wire called
//! `before` is a syntax error there. Names with a `$` inside (parts of a bundle or record, `r$d`) are never among them;
//! a `let` that is gets a number; a field is refused with [`refusal`].

/// The reserved words of IEEE 1800-2017, Annex B, in its order.
const RESERVED: &str = "\
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before \
    begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class \
    clocking cmos config const constraint context continue cover covergroup coverpoint cross deassign \
    default defparam design disable dist do edge else end endcase endchecker endclass endclocking endconfig \
    endfunction endgenerate endgroup endinterface endmodule endpackage endprimitive endprogram endproperty \
    endsequence endspecify endtable endtask enum event eventually expect export extends extern final \
    first_match for force foreach forever fork forkjoin function generate genvar global highz0 highz1 if iff \
    ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input inside \
    instance int integer interconnect interface intersect join join_any join_none large let liblist library \
    local localparam logic longint macromodule matches medium modport module nand negedge nettype new \
    nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge \
    primitive priority program property protected pull0 pull1 pulldown pullup pulsestyle_ondetect \
    pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg reject_on release \
    repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually s_nexttime s_until \
    s_until_with scalared sequence shortint shortreal showcancelled signed small soft solve specify \
    specparam static string strong strong0 strong1 struct super supply0 supply1 sync_accept_on \
    sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri \
    tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use \
    uwire var vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within \
    wor xnor xor";

/// Whether Verilog has this word for itself.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.split_ascii_whitespace().any(|word| word == name)
}

/// What is said of a field with such a name.
pub(crate) fn refusal(name: &str) -> String {
    format!("`{name}` is a Verilog word; rename the field")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_in_order() {
        let words: Vec<&str> = RESERVED.split_ascii_whitespace().collect();
        assert_eq!(words.len(), 248, "the standard lists so many");
        assert!(words.windows(2).all(|w| w[0] < w[1]), "sorted, and none twice");
        for word in ["before", "table", "checker", "expect", "cell", "reg", "tri0"] {
            assert!(is_reserved(word), "{word}");
        }
        assert!(!is_reserved("ready") && !is_reserved("") && !is_reserved("reg tri0"));
    }
}
