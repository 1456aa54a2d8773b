//! Writes `hdl/doc/top_ports.txt`, the ports of the NIC: `cargo run -p chimney-hdl --example top_ports`.

mod list;

fn main() -> anyhow::Result<()> {
    std::fs::write(list::FILE, list::text()?)?;
    println!("{}", list::FILE);
    Ok(())
}
