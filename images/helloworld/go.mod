module splithorizon/images/helloworld

go 1.26
