-- SigNoz computes percentiles by a function of this name, and has a program for it that is fetched from the internet.
-- This is the same in SQL: the quantile of a histogram with cumulative buckets, as Prometheus defines
-- histogram_quantile. `bounds` are the upper bounds of the buckets, the last of them infinity; `counts` belong to them.
CREATE OR REPLACE FUNCTION histogramQuantile AS (bounds, counts, level) ->
    arrayMap((b, c) ->
        arrayMap((i, rank) ->
            multiIf(
                length(b) < 2 OR NOT isInfinite(b[-1]) OR NOT (c[-1] > 0), nan,
                -- beyond the last finite bound nothing more is known
                i = 0 OR i = length(b), b[-2],
                i = 1 AND b[1] <= 0, b[1],
                -- linear within the bucket
                if(i = 1, 0, b[i - 1])
                    + (b[i] - if(i = 1, 0, b[i - 1])) * (rank - if(i = 1, 0, c[i - 1])) / (c[i] - if(i = 1, 0, c[i - 1]))
            ),
            [arrayFirstIndex(x -> x >= level * c[-1], c)], [level * c[-1]]
        )[1],
        [arraySort(bounds)], [arraySort((x, y) -> y, counts, bounds)]
    )[1];
