module splithorizon/images/pause

go 1.26
