"""Korea Investment & Securities: stocks of the Korea Exchange, against KRW."""
