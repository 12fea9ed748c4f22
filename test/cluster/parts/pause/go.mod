module github.com/vaultferry/vaultferry/test/cluster/parts/pause

go 1.26.0
