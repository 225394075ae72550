"""The paper venue: real quotes, real fees and minimums, invented money. Its books are tables of the database."""
